/**
 * Clearing and copying what a packet touches. The engine leaves wasm for `memory.fill` and `memory.copy`, which costs
 * more than the few bytes of a record, so these go word by word.
 */

/** Clears a struct whose size is a multiple of 8. */
export function clear<T>(at: usize): void {
  const words = offsetof<T>() & ~15;
  for (let i: usize = 0; i < words; i += 16) v128.store(at + i, i64x2(0, 0));
  if (words != offsetof<T>()) store<u64>(at + words, 0);
}

/** Copies a struct whose size is a multiple of 8. */
export function copy<T>(to: usize, from: usize): void {
  const words = offsetof<T>() & ~15;
  for (let i: usize = 0; i < words; i += 16) v128.store(to + i, v128.load(from + i));
  if (words != offsetof<T>()) store<u64>(to + words, load<u64>(from + words));
}

/** Copies the `length` bytes of a frame, and up to 15 more: both sides have that much room behind. */
export function copyFrame(to: usize, from: usize, length: u32): void {
  for (let i: usize = 0; i < length; i += 16) v128.store(to + i, v128.load(from + i));
}
