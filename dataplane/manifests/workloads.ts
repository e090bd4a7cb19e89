import type { Located } from './place.js';
import type { Fields } from './fields.js';
import type { Header } from './kinds.js';
import { METADATA, TEMPLATE, WORKLOAD_SPECS } from './known-fields.js';
import { readLabels, readSelector } from './labels.js';
import type { LabelSelector, Workload, WorkloadKind } from './objects.js';
import { readPodSpec } from './pods.js';

const MAX_REPLICAS = 2 ** 31 - 1;

/** The kinds that make pods of a template; `undefined` without one, as there is nothing to tell of its pods. */
export function readWorkload(kind: WorkloadKind) {
  return (object: Fields, header: Header): Workload | undefined => {
    const spec =
      kind === 'CronJob' ? object.within('spec').within('jobTemplate').within('spec') : object.within('spec');
    const template = spec.required('template', spec.fields('template'));
    spec.unknown(WORKLOAD_SPECS[kind]);
    template?.unknown(TEMPLATE);
    template?.within('metadata').unknown(METADATA);
    const labels = template && readLabels(template.within('metadata'), 'labels');
    if (!template || !labels) return undefined;
    return {
      ...header,
      kind,
      replicas:
        spec.integer(kind === 'Job' || kind === 'CronJob' ? 'parallelism' : 'replicas', 0, MAX_REPLICAS) ?? null,
      selector: (kind === 'ReplicationController' ? readEqualities(spec) : readSelector(spec, 'selector')) ?? null,
      template: {
        at: template.at,
        labels,
        annotations: template.within('metadata').within('annotations').asStrings(),
        spec: readPodSpec(template),
      },
    };
  };
}

/** The selector of a ReplicationController: a mapping of labels. */
function readEqualities(spec: Fields): LabelSelector | null {
  if (!spec.has('selector')) return null;
  return {
    at: spec.placeOf('selector'),
    matchLabels: readLabels(spec, 'selector') ?? new Map<string, Located<string>>(),
    matchExpressions: [],
  };
}
