/** Where a training step's time goes, layer by layer. */
import { nativeAddon } from '../../native/addon.js';
import type { IsaName, Precision } from '../../native/types.js';
import { table } from '../table.js';
import type { Machine } from '../types.js';
import { peakOf } from './summarise.js';
import type { LayerTable, StepCase } from './types.js';

/** Measured inside real steps of the native engine on the calling process's cores. */
export async function layerTable(
  { net, batchSize }: StepCase,
  backend: { isa: IsaName; precision: Precision },
  seconds: number,
  machine: Machine,
): Promise<LayerTable> {
  const { isa, precision } = backend;
  const rates = await nativeAddon().trainLayerRates(net, isa, precision, batchSize, seconds);
  const peak = peakOf(machine, backend);
  return {
    net: net.name,
    batchSize,
    backend: `native-${isa}`,
    precision,
    milliseconds: 1000 * rates.reduce((sum, rate) => sum + rate.seconds, 0),
    parts: rates.map(({ layer, part, seconds: taken, operations }) => {
      const gflops = operations === 0 ? null : (1e-9 * operations) / taken;
      return { layer, part, milliseconds: 1000 * taken, gflops, shareOfPeak: gflops === null || !peak ? null : gflops / peak };
    }),
  };
}

/** A line a layer: forward, then backward. Layers that multiply nothing have times only. */
export function renderLayers({ net, batchSize, backend, precision, milliseconds, parts }: LayerTable): string {
  const layers = [...new Set(parts.map(({ layer }) => layer))];
  const cells = (layer: string, ...names: string[]): string[] => {
    const found = parts.find((part) => part.layer === layer && names.includes(part.part));
    if (!found) return ['', '', ''];
    const { milliseconds: taken, gflops, shareOfPeak } = found;
    return [taken.toFixed(3), gflops?.toFixed(0) ?? '', shareOfPeak === null ? '' : `${(100 * shareOfPeak).toFixed(0)} %`];
  };
  const share = (layer: string): string => {
    const taken = parts.filter((part) => part.layer === layer).reduce((sum, part) => sum + part.milliseconds, 0);
    return `${((100 * taken) / milliseconds).toFixed(1)} %`;
  };
  const whole = parts.filter(({ layer }) => layer === 'step').map((part) => `${part.part} ${part.milliseconds.toFixed(3)}`);
  const heading = `${net}, batch ${batchSize}, ${backend} ${precision}: ${milliseconds.toFixed(2)} ms a step; ${whole.join(', ')}\n`;
  const rates = ['GF/s', 'of peak'];
  const body = layers
    .filter((layer) => layer !== 'step')
    .map((layer) => [
      layer,
      ...cells(layer, 'forward'),
      ...cells(layer, 'weight gradient'),
      ...cells(layer, 'input gradient', 'backward'),
      share(layer),
    ]);
  return heading + table(['layer', 'forward ms', ...rates, 'weights ms', ...rates, 'backward ms', ...rates, 'of step'], body);
}
