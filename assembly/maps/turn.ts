/**
 * Time in turns: within one, all that using an entry does besides counting was done when it was first used. A turn ends with the second of
 * the datapath's clock, with an epoch of any map that makes room for itself, and with whatever the control plane changes.
 */
export let turn: u32 = 1;

/** No turn is 0. */
export function endTurn(): void {
  turn = max<u32>(turn + 1, 1);
}
