/** Everything that is known at one moment: what was read, the cluster it makes, and the dataplane loaded with it. */
import { ClusterBuilder } from './cluster/build.js';
import type { Cluster, ClusterPod } from './cluster/cluster.js';
import { ofNetwork, resolved } from './cluster/shown.js';
import { steady } from './kept.js';
import { Desirer, type Desired } from './loader/entries.js';
import { Loader, type LoadReport } from './loader/load.js';
import { Manifests } from './manifests/manifests.js';
import { PolicyCompiler, PolicyReader, type CompiledPolicies, type CompiledPolicy } from './policy/compile.js';
import { isAnyEnforced } from './policy/enforced.js';
import { IdentityBuilder, type Identities, type PodIdentity } from './policy/identities.js';
import type { Given, Settings } from './settings.js';

export interface State {
  readonly generation: number;
  readonly settings: Settings;
  readonly manifests: Manifests;
  readonly cluster: Cluster;
  readonly identities: Identities;
  /** `all` of them, also those that nobody enforces. */
  readonly policies: CompiledPolicies;
  readonly desired: Desired;
  readonly loader: Loader;
  readonly report: LoadReport;
}

/** Reads, compiles and loads; keeps what makes numbers stay from one state to the next, and whatever an edit does not touch. */
export class Engine {
  readonly manifests = new Manifests();
  private readonly settings = steady(
    (given: Given, parts: Manifests['parts']) =>
      resolved(
        given,
        parts.flatMap((part) => ofNetwork(part)),
      ),
    (a, b) => JSON.stringify(a) === JSON.stringify(b),
  );
  private readonly clusters = new ClusterBuilder();
  private readonly identities = new IdentityBuilder();
  private readonly policies = new PolicyReader();
  private readonly compiler = new PolicyCompiler();
  private readonly desirer = new Desirer();
  private readonly loader: Loader;
  private state: State | null = null;

  /** `module` is the tracing build of the datapath. */
  constructor(
    module: WebAssembly.Module,
    private given: Given,
    loader = new Loader(module),
  ) {
    this.loader = loader;
  }

  set(given: Given): void {
    if (JSON.stringify(given) === JSON.stringify(this.given)) return;
    this.given = given;
    this.state = null;
  }

  /** The state of the manifests as they are now; made anew only after a change. */
  get current(): State {
    const { manifests, given, loader } = this;
    if (this.state?.generation === manifests.generation) return this.state;
    const settings = this.settings(given, manifests.parts);
    const cluster = this.clusters.build(manifests.parts, settings);
    const all = this.policies.read(cluster, settings);
    const identities = this.identities.build(cluster, all, settings);
    const isEnforced = settings.unenforcedPolicies !== 'void' || isAnyEnforced(cluster, settings);
    const held = this.compiler.compile(isEnforced ? all : [], cluster.nodes, identities, settings);
    const policies = { ...held, all };
    const desired = this.desirer.desire(cluster, identities, policies, settings);
    const report = loader.load(desired, settings['maglev.tableSize']);
    this.state = {
      generation: manifests.generation,
      settings,
      manifests,
      cluster,
      identities,
      policies,
      desired,
      loader,
      report,
    };
    return this.state;
  }
}

/** The policy of a pod; null for one on the host's network, which none holds for. */
export function policyOf(state: State, pod: ClusterPod): CompiledPolicy | null {
  const identity = identityOf(state, pod);
  return identity && (state.policies.ofIdentity.get(identity) ?? null);
}

export const identityOf = (state: State, pod: ClusterPod): PodIdentity | null =>
  state.identities.ofPod.get(pod) ?? null;

/** Something that answers keep from one state of an engine to the next. */
export function overStates<Kept>(make: () => Kept): (state: State) => Kept {
  const known = new WeakMap<Loader, Kept>();
  return ({ loader }) => {
    let found = known.get(loader);
    if (!found) known.set(loader, (found = make()));
    return found;
  };
}
