/** Memory for the maps, handed out once at start-up. Nothing is ever given back, and no packet allocates. */

let top: usize = 0;

/** `size` zeroed bytes, aligned to a cache line. Traps when the host cannot give the memory: only at start-up, never later. */
export function take(size: usize): usize {
  if (top == 0) top = (__heap_base + 63) & ~(<usize>63);
  const start = top;
  top = (start + size + 63) & ~(<usize>63);
  const pages = <i32>((top + 0xffff) >>> 16) - memory.size();
  if (pages > 0 && memory.grow(pages) < 0) unreachable();
  return start;
}

/** Bytes handed out so far. */
export function used(): u32 {
  return <u32>top;
}
