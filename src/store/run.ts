/** A run folder: reads and publishes artefacts. Paths come from store/layout.ts. */
export interface RunFolder {
  readonly root: string;
  /** True when the artefact and its manifest exist and agree (size and sha256). */
  isDone(artefact: string): Promise<boolean>;
  /**
   * Content of a finished artefact, checked against its manifest.
   * @throws LETHE_ARTEFACT_MISSING, LETHE_ARTEFACT_DAMAGED (exit code 3)
   */
  read(artefact: string): Promise<Uint8Array>;
}
