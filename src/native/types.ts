/** The addon's functions as TypeScript sees them; each binding file in native/addon states the same signature. */
export type IsaName = 'portable' | 'avx2' | 'avx512';

export interface SystemInfo {
  isa: IsaName;
  availableIsas: IsaName[];
  threads: number;
}

export interface NativeAddon {
  systemInfo(): SystemInfo;
}
