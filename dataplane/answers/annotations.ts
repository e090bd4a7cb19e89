/** What an editor shows on a manifest: the same for VS Code and for a terminal, free of either's markup. */
import type { Location, Position, Range } from '../manifests/place.js';

/** A flow that can be traced: references and numbers of ours, never text of a manifest to be run. */
export interface TraceRequest {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number | null;
  /** The request that the connection is for: `GET host/path`. */
  readonly http?: string;
}

/** What a click on a lens or a link does. */
export type Action =
  | { readonly kind: 'trace'; readonly request: TraceRequest }
  /** Asks for the other end, then traces. */
  | { readonly kind: 'traceFrom'; readonly to: string; readonly protocol: string; readonly port: number | null }
  | { readonly kind: 'traceTo'; readonly from: string }
  | { readonly kind: 'endpoints'; readonly service: string }
  | { readonly kind: 'reveal'; readonly location: Location };

/** A line above an object. */
export interface Lens {
  readonly range: Range;
  readonly title: string;
  readonly action: Action | null;
}

/** A remark behind a value. */
export interface Inlay {
  readonly position: Position;
  readonly text: string;
  readonly tooltip: string;
}

export interface Annotations {
  readonly lenses: readonly Lens[];
  readonly inlays: readonly Inlay[];
}

/** A piece of a hover's line. `text` is plain text, to be shown literally. */
export interface Span {
  readonly text: string;
  readonly style?: 'plain' | 'strong' | 'code' | 'allowed' | 'denied' | 'conditional' | 'unknown';
  readonly action?: Action;
}

/** At most fifteen lines; the verdict first. */
export interface HoverCard {
  readonly range: Range;
  readonly lines: readonly (readonly Span[])[];
}
