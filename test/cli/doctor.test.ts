import { type Check, checkCuda, checkMemory } from '../../src/cli/doctor.js';
import { lethe } from '../helpers/lethe.js';

async function doctor(environment: Record<string, string> = {}): Promise<{ code: number | null; checks: Map<string, Check> }> {
  const { code, stdout } = await lethe(['doctor', '--json'], environment);
  const { checks } = JSON.parse(stdout) as { checks: Check[] };
  return { code, checks: new Map(checks.map((check) => [check.name, check])) };
}

describe('lethe doctor', () => {
  it('finds everything needed on a machine where the tests run', async () => {
    const { code, checks } = await doctor({ LETHE_ISA: 'portable' });
    expect(code).toBe(0);
    expect([...checks.keys()]).toEqual([
      'node',
      'addon',
      'instruction set',
      'threads',
      'memory',
      'cuda',
      'disk',
      'onnxruntime-node',
      'data directory',
    ]);
    for (const name of ['node', 'addon', 'threads', 'onnxruntime-node']) expect(checks.get(name)).toMatchObject({ status: 'ok' });
    expect(checks.get('instruction set')!.found).toMatch(/^portable/);
    expect(Number.parseInt(checks.get('threads')!.found)).toBeGreaterThan(0);
  });

  it('says what to do about a missing addon and a wrong data directory, with exit code 4', async () => {
    const { code, checks } = await doctor({ LETHE_ADDON: '/nowhere/lethe.node', LETHE_DATA: '/nowhere' });
    expect(code).toBe(4);
    expect(checks.get('addon')).toMatchObject({ status: 'problem', found: expect.stringMatching(/npm run build:addon/) as string });
    expect(checks.get('data directory')).toMatchObject({ status: 'warning', found: expect.stringMatching(/lethe data fetch/) as string });
    expect(checks.has('threads')).toBe(false);
  });

  it('names the instruction sets when LETHE_ISA asks for another', async () => {
    const { code, checks } = await doctor({ LETHE_ISA: 'sse9' });
    expect(code).toBe(4);
    expect(checks.get('addon')!.found).toMatch(/LETHE_ISA_UNAVAILABLE.*portable.*sse9/);
  });

  it('never claims a GPU that the addon cannot use', () => {
    const none = { built: false, toolkit: '', problem: '', devices: [] };
    const device = { name: 'G', computeCapability: '9.0', totalBytes: 2 ** 32, freeBytes: 2 ** 31 };
    expect(checkCuda(none, [])).toMatchObject({ status: 'ok', found: expect.stringContaining('CPU') as string });
    expect(checkCuda(none, ['G, 1'])).toMatchObject({ status: 'warning', action: expect.stringContaining('nvcc') as string });
    expect(checkCuda({ ...none, built: true, toolkit: '13.0', problem: 'the driver is too old' }, ['G, 1'])).toMatchObject({
      status: 'warning',
      found: expect.stringContaining('too old') as string,
    });
    expect(checkCuda({ ...none, built: true, toolkit: '13.0', devices: [device] }, ['G, 1'])).toMatchObject({ status: 'ok' });
  });

  it('knows a cgroup limit from none', () => {
    expect(checkMemory(2 ** 35, 2 ** 34, 2 ** 33).found).toMatch(/cgroup limit 8.0 GiB/);
    expect(checkMemory(2 ** 35, 2 ** 34, 2 ** 63).found).not.toMatch(/cgroup/);
    expect(checkMemory(2 ** 35, 2 ** 29, 2 ** 35).status).toBe('warning');
  });
});
