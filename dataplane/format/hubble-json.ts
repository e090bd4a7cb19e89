/** Flows as `hubble observe -o json` writes them: a line each, in the envelope of the API's answer. Cilium `api/v1/observer`. */
import type { Flow } from '../answers/flows.js';

export const hubbleJson = (flows: readonly Flow[]): string =>
  flows.map((flow) => `${JSON.stringify({ flow, node_name: flow.node_name, time: flow.time })}\n`).join('');
