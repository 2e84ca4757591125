/** The addon's functions as TypeScript sees them; each binding file in native/addon states the same signature. */
export type IsaName = 'portable' | 'avx2' | 'avx512';

export interface SystemInfo {
  isa: IsaName;
  availableIsas: IsaName[];
  threads: number;
  cuda: CudaInfo;
}

export interface CudaInfo {
  /** The addon contains the CUDA backend. */
  built: boolean;
  toolkit: string;
  /** Why no device can be used; empty when devices are listed. */
  problem: string;
  devices: { name: string; computeCapability: string; totalBytes: number; freeBytes: number }[];
}

export interface NativeAddon {
  systemInfo(): SystemInfo;
}
