/** The endpoints of a Service, as a list; choosing one opens the manifest that put it there. */
import * as vscode from 'vscode';
import { count } from '../dataplane/words.js';
import { reveal } from './actions.js';
import type { Backend, ServiceBackends } from './backends.js';
import { registerCommand } from './commands.js';
import { inLabel } from './literal.js';
import { pickSet } from './pick.js';
import type { Workspace } from './workspace.js';

export function registerEndpoints(workspace: Workspace, output: vscode.LogOutputChannel): vscode.Disposable {
  return registerCommand('hopscope.showEndpoints', output, async (id, name) => {
    const set = workspace.setById(id) ?? (await pickSet(workspace));
    if (!set) return;
    const { result: services } = await workspace.askSet(set, 'services', null);
    const service = services.find((one) => one.service === name) ?? (await pickService(services));
    const location = service && (await pickBackend(service));
    if (location) await reveal(set, location);
  });
}

async function pickService(services: readonly ServiceBackends[]): Promise<ServiceBackends | null> {
  const items = services.map((service) => ({
    label: `$(symbol-interface) ${inLabel(service.service)}`,
    description: inLabel([service.clusterIP ?? 'no cluster IP', ...service.ports].join('  ')),
    detail: service.backends.length === 0 ? '$(warning) no endpoints' : count(service.backends.length, 'endpoint'),
    service,
  }));
  const options = { title: 'Endpoints', placeHolder: 'Which Service?', matchOnDescription: true };
  return (await vscode.window.showQuickPick(items, options))?.service ?? null;
}

const ICONS: Readonly<Record<Backend['state'], string>> = {
  ready: '$(pass)',
  'not reported': '$(circle-large-outline)',
  'not ready': '$(circle-slash)',
  terminating: '$(trash)',
};

async function pickBackend({ service, backends, location }: ServiceBackends): Promise<Backend['location'] | null> {
  const items = backends.map((backend) => ({
    label: `${ICONS[backend.state]} ${inLabel(backend.pod ?? backend.address)}`,
    description: `${backend.address} ${backend.protocol}`,
    detail: inLabel(
      [backend.node && `on ${backend.node}`, backend.state === 'not reported' ? null : backend.state, backend.workload]
        .filter(Boolean)
        .join(', '),
    ),
    location: backend.location,
  }));
  const own = {
    label: '$(go-to-file) The Service itself',
    description: backends.length === 0 ? 'it has no endpoints' : '',
    detail: '',
    location,
  };
  const options = {
    title: `${service}: ${count(backends.length, 'endpoint')}`,
    placeHolder: 'Which manifest?',
    matchOnDescription: true,
    matchOnDetail: true,
  };
  return (await vscode.window.showQuickPick([...items, own], options))?.location ?? null;
}
