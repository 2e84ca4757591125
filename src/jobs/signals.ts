/** Signals that ask a run to stop: of people, of a lost login, and of schedulers near the end of their time. */
export const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGXCPU'] as const;

export type StopSignal = (typeof stopSignals)[number];

export function isStopSignal(name: string | null): name is StopSignal {
  return (stopSignals as readonly (string | null)[]).includes(name);
}
