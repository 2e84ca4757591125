/** Proxies of the environment. Node 20 does not use them, and a silent "cannot connect" hides why. */

/** Names the variable that would apply to an address, such as "HTTPS_PROXY"; undefined: none, or NO_PROXY excepts the host. */
export function proxyFor(url: string, environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const { protocol, hostname } = new URL(url);
  const scheme = protocol.slice(0, -1);
  const names = [`${scheme}_proxy`, `${scheme.toUpperCase()}_PROXY`, 'all_proxy', 'ALL_PROXY'];
  const name = names.find((candidate) => (environment[candidate] ?? '') !== '');
  const except = (environment['no_proxy'] ?? environment['NO_PROXY'] ?? '').split(/[\s,]+/).filter((entry) => entry !== '');
  const excepted = except.some((entry) => {
    const host = entry.replace(/^\*?\./, '').replace(/:\d+$/, '');
    return entry === '*' || hostname === host || hostname.endsWith(`.${host}`);
  });
  return excepted ? undefined : name;
}
