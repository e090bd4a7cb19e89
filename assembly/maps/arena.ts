/** Memory for the maps, handed out once at start-up. Nothing is ever given back, and no packet allocates. */

let top: usize = 0;

/** `size` zeroed bytes, aligned to a cache line, which are there once `provide` was called. Traps where no memory could hold them. */
export function take(size: usize): usize {
  if (top == 0) top = (__heap_base + 63) & ~(<usize>63);
  const start = top;
  top = (start + size + 63) & ~(<usize>63);
  if (top < start) unreachable();
  return start;
}

/**
 * Has the host give all that was taken, in one piece: each time that a memory of this size grows, V8 looks through everything its
 * program holds. Traps when the host cannot: only at start-up, never later.
 */
export function provide(): void {
  const pages = <i32>((top + 0xffff) >>> 16) - memory.size();
  if (pages > 0 && memory.grow(pages) < 0) unreachable();
}

/** Bytes handed out so far. */
export function used(): u32 {
  return <u32>top;
}
