/** Who goes when conntrack is full: the map agrees with a model of two queues, entry by entry, over random packets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CtDirection, CtLifetime, MapId, Program } from '../../assembly/abi.js';
import { Datapath, decode } from '../../dataplane/wasm.js';
import { CtTuple4 } from '../../pkg/structs.js';
import { address, Lab, pod, TWO_NODES } from '../lab.js';
import { modules } from '../datapath.js';
import { packet } from '../packet.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

const [CAPACITY, ASSURED_MOST] = [40, 40 - (2 + 4)];
/** Entries that are created in an epoch. */
const EPOCH = 2;
const EVERYWHERE = 1 << 16;
const PODS = ['10.1.0.5', '10.1.0.6'] as const;
/** A flow's end has the port 1000 and more at the first pod, and this one at the second. */
const PORT = 9;

interface ModelEntry {
  /** In which it was used last. */
  epoch: number;
  assured: boolean;
  replied: boolean;
  lifetime: number;
}

/** What conntrack must hold after UDP packets between two pods. The queues are in order; the first goes first. */
class Model {
  readonly entries = new Map<string, ModelEntry>();
  private others: string[] = [];
  private assured: string[] = [];
  readonly counters = { created: 0, evicted: 0, expired: 0, deleted: 0 };
  now = 0;

  /** A packet, `forth` from the first pod to the second, or back: it is looked up where it leaves, and where it arrives. */
  packet(flow: number, forth: boolean): void {
    const [tuple, reverse] = forth ? [`${flow} forth`, `${flow} back`] : [`${flow} back`, `${flow} forth`];
    this.lookup(`EGRESS ${tuple}`, `INGRESS ${reverse}`);
    this.lookup(`INGRESS ${tuple}`, `EGRESS ${reverse}`);
  }

  private lookup(own: string, opposite: string): void {
    const reply = this.entries.get(opposite);
    const entry = reply ?? this.entries.get(own);
    if (entry && entry.epoch !== this.epoch) this.queue(reply ? opposite : own, entry);
    if (reply) reply.replied = true;
    else if (entry?.replied && !entry.assured) {
      entry.assured = true;
      this.queue(own, entry);
    }
    (entry ?? this.create(own)).lifetime = this.now + CtLifetime.NONTCP;
  }

  private create(key: string): ModelEntry {
    if (this.entries.size === CAPACITY) this.evict();
    const entry = { epoch: 0, assured: false, replied: false, lifetime: 0 };
    this.counters.created++;
    this.entries.set(key, entry);
    this.queue(key, entry);
    return entry;
  }

  private evict(): void {
    const queue = this.assured.length > ASSURED_MOST ? this.assured : this.others;
    this.remove(queue[0]!);
    this.counters.evicted++;
  }

  private get epoch(): number {
    return Math.floor(this.counters.created / EPOCH);
  }

  /** To the end of its queue. */
  private queue(key: string, entry: ModelEntry): void {
    this.leave(key);
    entry.epoch = this.epoch;
    (entry.assured ? this.assured : this.others).push(key);
  }

  private leave(key: string): void {
    this.others = this.others.filter((other) => other !== key);
    this.assured = this.assured.filter((other) => other !== key);
  }

  private remove(key: string): void {
    this.leave(key);
    this.entries.delete(key);
  }

  delete(key: string): void {
    this.remove(key);
    this.counters.deleted++;
  }

  collect(): void {
    for (const [key, { lifetime }] of [...this.entries])
      if (lifetime < this.now) {
        this.remove(key);
        this.counters.expired++;
      }
  }
}

/** A dataplane with room for few connections, and the two pods' endpoints. */
function small(): { datapath: Datapath; endpoints: readonly number[] } {
  const lab = new Lab(TWO_NODES + PODS.map((ip, i) => pod(`pod-${i}`, ip, 'n1')).join(''));
  const { desired, loader } = lab.state;
  const datapath = Datapath.create(modules.fast, { ...loader.current.sizes, conntrack4: CAPACITY });
  for (const { map, key, value } of desired.entries) assert.equal(datapath.update(map, key, value), 0);
  const ids = new Map([...desired.endpointIds].map(([{ name }, id]) => [name, id]));
  return { datapath, endpoints: PODS.map((_, i) => ids.get(`pod-${i}`)!) };
}

/** The model's name of an entry: `EGRESS 3 forth`. */
function nameOf(key: string): string {
  const { saddr, sport, dport, flags } = decode(CtTuple4, key);
  const forth = saddr === address(PODS[0]);
  const direction = flags === CtDirection.EGRESS ? 'EGRESS' : 'INGRESS';
  return `${direction} ${(forth ? sport : dport) - 1000} ${forth ? 'forth' : 'back'}`;
}

const flow = fc.integer({ min: 0, max: 15 });
const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant('packet' as const), flow, forth: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('talk' as const),
      flow,
      flows: fc.integer({ min: 1, max: 12 }),
      forth: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flood' as const), flow: fc.integer({ min: 16, max: 4000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('collect' as const), after: fc.integer({ min: 0, max: 70 }) }) },
);

test(`conntrack holds what the model holds, never more than fits, and its counters balance (HOPSCOPE_SEED=${SEED})`, () => {
  let [most, evicted] = [0, 0];
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 200 }), (steps) => {
      const { datapath, endpoints } = small();
      const model = new Model();
      const send = (number: number, forth: boolean): void => {
        const [here, there] = forth ? PODS : [PODS[1], PODS[0]];
        const [sport, dport] = forth ? [1000 + number, PORT] : [PORT, 1000 + number];
        const frame = packet().eth().ipv4(here, there).udp(sport, dport).bytes();
        const endpoint = endpoints[forth ? 0 : 1]!;
        const [out] = datapath.process([{ frame, node: 1, program: Program.FROM_CONTAINER, endpoint }]);
        assert.equal(out!.verdict, 0);
        model.packet(number, forth);
      };
      for (const step of steps) {
        if (step.do === 'packet') send(step.flow, step.forth);
        if (step.do === 'talk')
          for (let i = 0; i < step.flows; i++)
            for (const forth of [step.forth, !step.forth, step.forth]) send(step.flow + i, forth);
        if (step.do === 'flood') for (let i = 0; i < 2 * CAPACITY; i++) send(step.flow + i, true);
        if (step.do === 'collect') {
          model.now += step.after;
          datapath.wasm.setClock(model.now);
          model.collect();
          datapath.wasm.collect(EVERYWHERE);
        }
        const keys = datapath.keys(MapId.CT4, CtTuple4.size);
        if (step.do === 'delete' && keys.length > 0) {
          const [key] = keys.splice(step.which % keys.length, 1);
          assert.equal(datapath.delete(MapId.CT4, key!), 0);
          model.delete(nameOf(key!));
        }
        assert.deepEqual(keys.map(nameOf).sort(), [...model.entries.keys()].sort());
        const { live, ...counters } = datapath.counters(MapId.CT4);
        assert.deepEqual(counters, model.counters);
        assert.equal(live, keys.length);
        assert.ok(live <= CAPACITY);
        assert.equal(counters.created, live + counters.evicted + counters.expired + counters.deleted);
        most = Math.max(most, [...model.entries.values()].filter(({ assured }) => assured).length);
      }
      evicted += model.counters.evicted;
    }),
    { numRuns: 150, seed: SEED },
  );
  assert.ok(most > ASSURED_MOST, `at most ${most} were assured: some must have had to go`);
  assert.ok(evicted > 1000, `${evicted} were evicted`);
});
