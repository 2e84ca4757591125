/** The contract between Lethe and a data set: implement DataSource and register it (registry.ts). */
import type { Dataset } from '../types.js';

/** Which examples a plan asks for. */
export interface DataSelection {
  /** The first ones of every class in file order; 0 takes all. */
  trainPerClass: number;
  validationPerClass: number;
}

export interface DataSourceOptions extends DataSelection {
  /** Folder with the files of the data set (`--data`, `LETHE_DATA`); sources that need none ignore it. */
  directory?: string;
  /** Takes one line for people about a choice the source made, e.g. which of two files was read. */
  note?: (line: string) => void;
}

export interface DataSource {
  /** As in a plan: ^[a-z0-9][a-z0-9._-]{0,63}$ */
  name: string;
  /** One line for people. */
  describe: string;
  /** Reads the examples and finishes with `createDataset`, which checks shapes and labels and computes the identity. */
  load(options: DataSourceOptions): Promise<Dataset>;
}
