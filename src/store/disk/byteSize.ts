/** Sizes for people. */
export function formatBytes(bytes: number): string {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(bytes, 1)) / 10)));
  const value = bytes / 1024 ** power;
  const digits = value >= 1000 ? value.toFixed(0) : value.toPrecision(3);
  return power === 0 ? `${Math.ceil(bytes)} B` : `${digits} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]!}`;
}
