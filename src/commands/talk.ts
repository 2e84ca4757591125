export type Note = (line: string) => void;

/** How a command that takes long talks to whoever called it; what is left out is not told. */
export interface Talk {
  /** A line for people. */
  note?: Note;
  /** Work in progress; `unit` is plural: "images". */
  progress?: (label: string, unit: string) => ProgressDisplay;
  signal?: AbortSignal;
}

export interface ProgressDisplay {
  /** `rate` (units a second) where work of an earlier session makes done / elapsed wrong. */
  update(done: number, total: number, note?: string, rate?: number): void;
  stop(): void;
}

const nothing: ProgressDisplay = { update() {}, stop() {} };

export function startProgress({ progress }: Talk, label: string, unit: string): ProgressDisplay {
  return progress?.(label, unit) ?? nothing;
}
