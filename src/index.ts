/** The public API: the product's table of contents. `pipeline.ts` is the whole method; the stages can be used one by one. */
export { ExitCode, LetheError } from './errors.js';
export type * from './types.js';
export { splitNames } from './types.js';

// data
export { createDataset } from './data/dataset.js';
export { generateMasks, maskIndices, packMasks, unpackMasks } from './data/masks.js';
export { listDatasets, loadDataset, registerDataset } from './data/registry.js';
export { resolveForgetSet } from './data/forgetSets.js';
export type { DataSelection, DataSource, DataSourceOptions } from './data/source.js';

// networks and engines
export { buildNet, netNames } from './models/index.js';
export { exportOnnx, type OnnxOptions } from './models/onnx.js';
export { importOnnx, type ImportedNet, netFromOnnx } from './models/onnxImport.js';
export { createEngine, type DeviceName, type EngineChoice, type EngineName } from './engines/index.js';
export { NativeEngine, type NativeEngineOptions } from './engines/native.js';
export { OrtEngine, type OrtEngineOptions } from './engines/ort.js';

// stages
export { trainingJob } from './train/jobs.js';
export { defaultFitOptions, fitDatamodels, type FitInput } from './datamodels/fit.js';
export {
  chooseForAll,
  fitBlocks,
  planBlocks,
  planMemory,
  type FittedBlock,
  type OutputBlocks,
  type RowWeightBlocks,
} from './datamodels/blocks.js';
export { type FitFiles, fitFiles, type FitFilesOptions, type FittedFiles } from './datamodels/fitFiles.js';
export { openDesign } from './attributors/registry.js';
export type { Attributor, Design } from './attributors/attributor.js';
export { holdoutModels } from './attributors/selection.js';
export { predict } from './datamodels/predict.js';
export { forgetShift, methodNames, simulate, unlearnedLogits, unlearnJob, unlearnMethod } from './unlearn/index.js';
export { divergences, type Divergences, klom } from './evaluate/klom.js';
export { klomFloor } from './evaluate/floor.js';
export { lds } from './evaluate/lds.js';
export { ridgeStudy } from './ridge/study.js';
export { checkRidgeSettings, defaultRidgeSettings } from './ridge/settings.js';
export { buildReport, renderKlomTable } from './report/index.js';
export { buildRidgeReport, renderRidgeClaims } from './report/ridge.js';
export { collectReport } from './report/collect.js';

// runs
export { loadPlan } from './jobs/plan.js';
export { runStages, type RunOutcome } from './jobs/execute.js';
export type { ExecuteOptions } from './jobs/executor.js';
export type { Stage, Task, TaskContext } from './jobs/task.js';
export { progressLines, type RunProgress } from './jobs/progress.js';
export type { RunFolder } from './store/folders/run.js';
export { openRun, planNet, planStages, type RunInputs } from './pipeline.js';

// commands: what verbs do, without words and flags
export { type FinishedRun, runPlan, type RunPlanOptions } from './commands/runPlan.js';
export { type RunView, viewRun } from './commands/session.js';
export { makeModels, type MakeModels, type ModelSummary } from './commands/models.js';
export { type TrainedModels, type TrainModels, trainModels, type TrainModelsOptions } from './commands/train.js';
export { unlearn, type Unlearned, type UnlearnOptions } from './commands/unlearn.js';
export { type SimulateFiles, simulateFiles, type SimulateFilesOptions, type Simulated } from './commands/simulateFiles.js';
export { marginsOfFiles } from './commands/marginsFile.js';
export { type LdsFiles, ldsFiles, type LdsFilesOptions, type LdsOfFiles } from './commands/ldsFiles.js';
export { exportCsv, exportNpy, type ExportedNpy, type ExportNpyOptions, type ExportOptions, type NpyPart } from './commands/exportRun.js';
export {
  exportCheckpoint,
  type ExportedModel,
  type ExportedOnnx,
  exportOnnxModel,
  type ModelSource,
  type RunModel,
} from './commands/exportModel.js';
export type { ProgressDisplay, Talk } from './commands/talk.js';
