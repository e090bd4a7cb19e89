/**
 * Packets without end, the same for the same seed: seven in ten are of real flows (through Services and tunnels, in
 * fragments, in every form that a host can send), three in ten of those with something wrong.
 */
import { Program } from '../../assembly/abi.js';
import type { Packet } from '../../pkg/structs.js';
import { answer } from './answer.js';
import type { Loaded } from './cluster.js';
import { Width } from './frames.js';
import { MAX_FRAME, templates, type Template } from './templates.js';

/** Of a hundred packets, those with something wrong. */
const MUTATED = 30;
/** Of a hundred, those that answer a packet that arrived. */
const REPLIES = 25;
/** Answers kept at once. */
const KEPT = 64;

export class Traffic {
  /** Where the packet that was made last enters. */
  program = 0;
  node = 0;
  endpoint = 0;
  mark = 0;

  private readonly templates: readonly Template[];
  private replies: Template[] = [];
  private oldest = 0;
  private following: Template | null = null;
  private state = 1;

  constructor(cluster: Loaded) {
    this.templates = templates(cluster);
  }

  /** Starts anew: the same packets for the same seed. */
  start(seed: number): void {
    this.state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) | 1;
    for (let i = 0; i < 8; i++) this.random();
    this.replies = [];
    this.oldest = 0;
    this.following = null;
    for (const first of this.templates)
      for (let template: Template | null = first; template; template = template.then)
        template.cut = this.below(template.frame.length + 1);
  }

  /** xorshift32. */
  private random(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }

  /** A number below `end`. */
  below(end: number): number {
    return this.random() % end;
  }

  private drawn(): Template {
    const from = this.replies.length > 0 && this.below(100) < REPLIES ? this.replies : this.templates;
    return from[this.below(from.length)]!;
  }

  /** Writes the next frame at `at`. Returns its length. */
  next(memory: Uint8Array, at: number): number {
    const template = this.following ?? this.drawn();
    this.following = template.then;
    const { frame, ports } = template;
    this.program = template.program;
    this.node = template.node;
    this.endpoint = template.endpoint;
    this.mark = template.mark;
    memory.set(frame, at);
    const draw = this.random();
    // A thousand flows each, and now and then another port, other flags, another sender.
    if (ports >= 0) {
      memory[at + ports] = 0x90 | ((draw >>> 8) & 3);
      memory[at + ports + 1] = draw & 255;
      if ((draw & 0x7000) === 0) memory[at + ports + 13] = draw >>> 24;
      if ((draw & 0x78000) === 0) memory[at + ports + 3] = draw >>> 16;
    }
    // What pods and nodes send may be the first that a socket sends.
    if ((draw & 0x4000000) === 0 && (this.program === Program.FROM_CONTAINER || this.program === Program.FROM_HOST))
      this.program = Program.SOCK_CONNECT;
    if ((draw & 0x3f00000) === 0) this.misplace();
    let length = frame.length;
    if (this.below(100) < MUTATED)
      for (let i = draw & 1; i >= 0; i--) length = this.mutate(template, memory, at, length);
    return length;
  }

  /** The record names an endpoint, a node, a program or a mark that there may not be. */
  private misplace(): void {
    const draw = this.random();
    const number = (): number => this.random() >>> (draw >>> 27);
    if ((draw & 1) !== 0) this.endpoint = number();
    if ((draw & 2) !== 0) this.node = number() & 0xffff;
    if ((draw & 4) !== 0) this.program = number() & 0xffff;
    if ((draw & 8) !== 0) this.mark = number();
  }

  /** One thing wrong. Returns the new length. */
  private mutate(template: Template, memory: Uint8Array, at: number, length: number): number {
    const draw = this.random();
    switch (draw & 7) {
      case 0:
        template.cut = template.cut >= template.frame.length ? 0 : template.cut + 1;
        return Math.min(length, template.cut);
      case 1:
        template.cut = template.cut >= template.frame.length ? 0 : template.cut + 1;
        this.admit(template, memory, at);
        return Math.min(length, template.cut);
      case 2:
      case 3:
        this.lie(template, memory, at);
        return length;
      case 4: {
        const { kinds } = template;
        if (kinds.length > 0) memory[at + kinds[(draw >>> 3) % kinds.length]!] = draw >>> 24;
        return length;
      }
      case 5:
        for (let i = (draw >>> 3) & 7; i >= 0; i--) {
          const bytes = this.random();
          memory[at + ((bytes >>> 8) % (length + 1))] = bytes;
        }
        return length;
      case 6: {
        const longer = Math.min(MAX_FRAME, length + ((draw >>> 3) & 63));
        memory.fill(draw >>> 16, at + length, at + longer);
        return longer;
      }
      default: {
        // The front of one frame and the back of another.
        const { frame } = this.templates[(draw >>> 8) % this.templates.length]!;
        const cut = (draw >>> 3) & 63;
        if (cut >= frame.length) return length;
        memory.set(frame, at);
        memory.set(template.frame.subarray(0, cut), at);
        return frame.length;
      }
    }
  }

  /** All lengths agree with where the frame was cut. */
  private admit({ frame, lengths, cut }: Template, memory: Uint8Array, at: number): void {
    for (const [offset, width] of lengths) {
      if (width !== Width.WORD) continue;
      const length = ((frame[offset]! << 8) | frame[offset + 1]!) + cut - frame.length;
      if (length < 0) continue;
      memory[at + offset] = length >>> 8;
      memory[at + offset + 1] = length;
    }
  }

  /** A length field that says something else: nothing, a little more or less, everything, or anything. */
  private lie({ lengths }: Template, memory: Uint8Array, at: number): void {
    if (lengths.length === 0) return;
    const draw = this.random();
    const [offset, width] = lengths[draw % lengths.length]!;
    const field = at + offset;
    const before = width === Width.WORD ? (memory[field]! << 8) | memory[field + 1]! : memory[field]!;
    const values = [0, before + 1 + ((draw >>> 8) & 7), before - 1 - ((draw >>> 8) & 7), 0xffff, draw >>> 16];
    const value = values[(draw >>> 11) % values.length]!;
    if (width === Width.LOW) memory[field] = (before & 0xf0) | (value & 15);
    else if (width === Width.HIGH) memory[field] = (before & 15) | (value << 4);
    else if (width === Width.BYTE) memory[field] = value;
    else {
      memory[field] = value >>> 8;
      memory[field + 1] = value;
    }
  }

  /** Keeps an answer to the packet of a record that arrived. */
  answer(memory: Uint8Array, record: Packet): void {
    const reply = answer(memory.subarray(record.data, record.data + record.length), record, this.random());
    if (reply === null) return;
    if (this.replies.length < KEPT) this.replies.push(reply);
    else this.replies[this.oldest++ % KEPT] = reply;
  }
}
