import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { proxyFor, type ProxyConfig } from '../../../src/registry/proxy.ts';
import { leaks, MARKER, printed } from './temp.ts';

const through = (url: string, config: ProxyConfig): string | undefined => proxyFor(new URL(url), config)?.href;
const proxies = { http: 'http://h.proxy:1', https: 'http://s.proxy:2' };

describe('the proxy of a URL', () => {
  it('is chosen by its scheme', () => {
    assert.equal(through('http://a.example/', proxies), 'http://h.proxy:1/');
    assert.equal(through('https://a.example/', proxies), 'http://s.proxy:2/');
    assert.equal(through('https://a.example/', { http: 'http://h.proxy:1' }), undefined);
    assert.equal(through('http://a.example/', { http: '' }), undefined);
  });

  it('may be without a scheme, with credentials, and over https', () => {
    assert.equal(through('http://a.example/', { http: 'h.proxy:3128' }), 'http://h.proxy:3128/');
    assert.equal(through('http://a.example/', { http: 'user:pw@h.proxy:3128' }), 'http://user:pw@h.proxy:3128/');
    assert.equal(through('http://a.example/', { http: 'https://h.proxy' }), 'https://h.proxy/');
  });

  const EXEMPT: readonly (readonly [string, string, boolean])[] = [
    ['*', 'https://a.example/', true],
    ['a.example', 'https://a.example/', true],
    ['A.Example', 'https://a.example/', true],
    ['a.example', 'https://b.a.example/', true],
    ['a.example', 'https://ba.example/', false],
    ['.a.example', 'https://a.example/', false],
    ['.a.example', 'https://b.a.example/', true],
    ['*.a.example', 'https://b.a.example/', true],
    ['*.a.example', 'https://a.example/', false],
    ['a.example:5000', 'https://a.example:5000/', true],
    ['a.example:5000', 'https://a.example/', false],
    ['a.example:443', 'https://a.example/', true],
    ['a.example:80', 'http://a.example/', true],
    ['x.example, a.example', 'https://a.example/', true],
    ['x.example a.example', 'https://a.example/', true],
    ['10.0.0.1', 'https://10.0.0.1/', true],
    ['0.0.1', 'https://10.0.0.1/', false],
    ['10.0.0.0/8', 'https://10.9.8.7/', true],
    ['10.0.0.0/8', 'https://11.0.0.1/', false],
    ['10.0.0.0/33', 'https://10.0.0.1/', false],
    ['10.0.0.0/8', 'https://ten.example/', false],
    ['fd00::/8', 'https://[fd00::1]:5000/', true],
    ['fd00::/8', 'https://[fe80::1]/', false],
    ['fd00::1', 'https://[fd00::1]/', true],
    ['[fd00::1]:5000', 'https://[fd00::1]:5000/', true],
    ['[fd00::1]:5000', 'https://[fd00::1]/', false],
    ['', 'https://a.example/', false],
    [',,', 'https://a.example/', false],
    ['', 'https://localhost:5000/', true],
    ['', 'https://127.0.0.1/', true],
    ['', 'https://127.9.9.9/', true],
    ['', 'https://[::1]/', true],
    ['', 'https://127.0.0.1.example/', false],
  ];
  for (const [none, url, exempt] of EXEMPT) {
    it(`NO_PROXY ${JSON.stringify(none)} ${exempt ? 'exempts' : 'does not exempt'} ${url}`, () => {
      assert.equal(through(url, { ...proxies, none }) === undefined, exempt);
    });
  }

  for (const text of ['socks5://h:1', 'http://', `ht!tp://user:${MARKER}@x`, `http://user:${MARKER}@h:99999`, ':::']) {
    it(`that is no URL of an HTTP proxy is named by its variable only: ${text.replace(MARKER, '...')}`, () => {
      assert.throws(
        () => through('https://a.example/', { https: text }),
        (err) =>
          err instanceof GantryError &&
          err.code === 'INVALID' &&
          err.message.startsWith('HTTPS_PROXY is not') &&
          !leaks(printed(err)),
      );
    });
  }
});
