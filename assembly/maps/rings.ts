/**
 * Rings of numbers, each of which knows the one before it and the one behind: a queue is a ring through a number of its own, its end.
 *
 *   links   (u32, u32)[]   of each number: before, behind
 */
import { take } from './arena';

@unmanaged
class Link {
  before: u32;
  behind: u32;
}

/** Where the links are. Each number must be put alone, or in a ring, before anybody asks for it. */
@unmanaged
export class Rings {
  private link(number: u32): Link {
    return changetype<Link>(changetype<usize>(this) + <usize>number * offsetof<Link>());
  }

  /** The one behind; of an end, the first in its queue. */
  behind(number: u32): u32 {
    return this.link(number).behind;
  }

  /** Whether it is in no ring with others: an end with an empty queue, or a number in none. */
  isAlone(number: u32): bool {
    return this.link(number).behind == number;
  }

  /** Puts a number in a ring of its own, wherever it was. */
  alone(number: u32): void {
    const link = this.link(number);
    link.before = number;
    link.behind = number;
  }

  /** Puts a number at the end of a queue. */
  append(end: u32, number: u32): void {
    const last = this.link(end).before;
    this.link(last).behind = number;
    this.link(end).before = number;
    const link = this.link(number);
    link.before = last;
    link.behind = end;
  }

  /** Takes a number out of its ring, for another. */
  unlink(number: u32): void {
    const link = this.link(number);
    this.link(link.before).behind = link.behind;
    this.link(link.behind).before = link.before;
  }
}

/** Memory for the links of so many numbers, from 0 on. */
export function takeRings(numbers: u32): Rings {
  return changetype<Rings>(take(<usize>numbers * offsetof<Link>()));
}
