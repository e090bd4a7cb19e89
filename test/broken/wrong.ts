/** A build that does something wrong with packets. */
import type { Broken } from './table.js';

export const wrong = (name: string, file: string, from: string, to: string): Broken => ({
  name,
  build: 'fast',
  file,
  from,
  to,
});
