import { proxyFor } from '../../src/data/proxy.js';

test.each<[string, Record<string, string>, string | undefined]>([
  ['https://a.example/x', {}, undefined],
  ['https://a.example/x', { http_proxy: 'p' }, undefined],
  ['https://a.example/x', { HTTPS_PROXY: 'p' }, 'HTTPS_PROXY'],
  ['https://a.example/x', { https_proxy: '', ALL_PROXY: 'p' }, 'ALL_PROXY'],
  ['http://a.example/x', { http_proxy: 'p', no_proxy: 'b.example, .example' }, undefined],
  ['http://a.example/x', { http_proxy: 'p', NO_PROXY: 'a.example:80' }, undefined],
  ['http://a.example/x', { http_proxy: 'p', NO_PROXY: 'ample' }, 'http_proxy'],
  ['http://a.example/x', { http_proxy: 'p', NO_PROXY: '*' }, undefined],
])('the proxy of %s with %j is %s', (url, environment, expected) => {
  expect(proxyFor(url, environment)).toBe(expected);
});
