/** Everything that can be asked, over one set of manifests: what the editor's worker and the command line both call. */
import type { Annotations, HoverCard } from './answers/annotations.js';
import { annotate } from './answers/annotate.js';
import { check } from './answers/check.js';
import { ends, type EndChoice } from './answers/ends.js';
import { exposed } from './answers/exposure.js';
import { generate, type Generated } from './answers/generate.js';
import { announcedFlows } from './answers/generate-flows.js';
import { recordedFlows } from './answers/generate-hubble.js';
import { hover } from './answers/hover.js';
import { maps, type Maps } from './answers/maps.js';
import { query, type Answered, type Question } from './answers/query.js';
import { reach, type Reach, type ReachOptions } from './answers/reach.js';
import { search, type Search, type SearchOptions } from './answers/search.js';
import { flowsOf, type Flow } from './answers/flows.js';
import { notificationsOf, type Notification } from './answers/notifications.js';
import { capture, trace, type Captured, type Trace } from './answers/trace.js';
import type { Position } from './manifests/place.js';
import type { Problem, ProblemReport } from './problems.js';
import { report } from './problems.js';
import { readSettingsFile } from './settings-file.js';
import { DEFAULT_SETTINGS, SETTINGS_FILE, withSetting, type Given, type Settings } from './settings.js';
import { Engine, type State } from './state.js';
import { count } from './words.js';

export class Session {
  private readonly engine: Engine;
  private readonly files = new Map<string, string | Uint8Array>();
  private overrides: Readonly<Record<string, unknown>> = {};
  private settingsProblems: readonly Problem[] = [];

  /** `module` is the tracing build of the datapath. `settings`: by their keys, over those of `.hopscope.yaml`. */
  constructor(
    private readonly module: WebAssembly.Module,
    settings: Readonly<Record<string, unknown>> = {},
  ) {
    this.engine = new Engine(module, DEFAULT_SETTINGS);
    this.configure(settings);
  }

  /** Sets the overriding settings. Values that are not allowed count as unset: whoever takes them from a person checks them first. */
  configure(settings: Readonly<Record<string, unknown>>): void {
    this.overrides = settings;
    this.applySettings();
  }

  /** Sets, or with null removes, a file. The settings file is read as such wherever it is; the one nearest the root counts. */
  setFile(file: string, content: string | Uint8Array | null): void {
    if (file === SETTINGS_FILE || file.endsWith(`/${SETTINGS_FILE}`)) {
      if (content === null) this.files.delete(file);
      else this.files.set(file, content);
      this.applySettings();
    } else this.engine.manifests.set(file, content);
  }

  private applySettings(): void {
    const [file] = [...this.files.keys()].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
    const read =
      file === undefined ? { settings: DEFAULT_SETTINGS, problems: [] } : readSettingsFile(file, this.files.get(file)!);
    this.settingsProblems = read.problems;
    let settings: Given = read.settings;
    for (const [key, value] of Object.entries(this.overrides)) settings = withSetting(settings, key, value) ?? settings;
    this.engine.set(settings);
  }

  get state(): State {
    return this.engine.current;
  }

  get settings(): Settings {
    return this.engine.current.settings;
  }

  problems(): ProblemReport[] {
    return check(this.state, this.settingsProblems).map(report);
  }

  /** What could not be read, or not be read as it stands: the manifests' and the settings' own problems. */
  inputProblems(): Problem[] {
    return [...this.engine.manifests.problems, ...this.settingsProblems];
  }

  query(question: Question): Answered | { readonly error: string } {
    return query(this.state, question);
  }

  trace(question: Question): Trace | { readonly error: string } {
    return trace(this.state, question);
  }

  /** A trace with the frames that were seen on the way. */
  capture(question: Question): Captured | { readonly error: string } {
    return capture(this.state, question);
  }

  /** What Cilium's monitor, and from it Hubble, would tell of the packets of a trace. */
  observe({ recordings }: Captured): {
    readonly notifications: readonly Notification[];
    readonly flows: readonly Flow[];
  } {
    const notifications = recordings.flatMap((recording) => notificationsOf(this.state, recording));
    return { notifications, flows: flowsOf(this.state, notifications) };
  }

  reach(options: ReachOptions): Reach | { readonly error: string } {
    return reach(this.state, options);
  }

  /** Who can talk to whom, pods that are not there yet among them. */
  exposure(options: ReachOptions): Reach | { readonly error: string } {
    const found = reach(this.state, options);
    return 'error' in found ? found : exposed(this.state, found, options, this.module);
  }

  search(options: SearchOptions): Search | { readonly error: string } {
    return search(this.state, options);
  }

  /** Policies for the flows that Hubble recorded, or, without any, for those that the manifests announce. */
  generate(recorded: string | null): Generated {
    if (recorded === null) return generate(this.state, announcedFlows(this.state));
    const { flows, unread } = recordedFlows(this.state, recorded);
    const generated = generate(this.state, flows);
    return unread === 0
      ? generated
      : {
          ...generated,
          skipped: [`${count(unread, 'line')} that ${unread === 1 ? 'is' : 'are'} no flow`, ...generated.skipped],
        };
  }

  maps(map: string | null, node: string | null): Maps | { readonly error: string } {
    return maps(this.state, map, node);
  }

  annotations(file: string): Annotations {
    return annotate(this.state, file);
  }

  hover(file: string, position: Position): HoverCard | null {
    return hover(this.state, file, position);
  }

  /** What a person can pick as an end of a trace, most likely first. */
  ends(): EndChoice[] {
    return ends(this.state);
  }
}
