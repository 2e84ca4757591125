/** What the targets of a fit came to. */
import type { Datamodels } from '../types.js';

/** Counts over all targets; gaps of targets that have one. */
export class FitSummary {
  maxRelativeGap = 0;
  numConverged = 0;
  numUnconverged = 0;
  numConstant = 0;
  numNonFinite = 0;
  targets = 0;
  private weights = 0;

  add({ status, gap, rowStart, numTargets }: Datamodels): void {
    status.forEach((word, target) => {
      if (word === 'nonfinite') this.numNonFinite++;
      else this.maxRelativeGap = Math.max(this.maxRelativeGap, gap[target]!);
      if (word === 'converged') this.numConverged++;
      if (word === 'unconverged') this.numUnconverged++;
      if (word === 'constant') this.numConstant++;
    });
    this.weights += rowStart[numTargets]!;
    this.targets += numTargets;
  }

  counts(): FitCounts {
    const { maxRelativeGap, numConverged, numUnconverged, numConstant, numNonFinite } = this;
    const meanNonzero = this.targets === 0 ? 0 : this.weights / this.targets;
    return { maxRelativeGap, numConverged, numUnconverged, numConstant, numNonFinite, meanNonzero };
  }
}

export interface FitCounts {
  maxRelativeGap: number;
  numConverged: number;
  numUnconverged: number;
  numConstant: number;
  numNonFinite: number;
  meanNonzero: number;
}
