/** The example shop, edited: one policy changes, and a question about it is answered. */
import ads from '../../examples/shop/ads.yaml';
import cache from '../../examples/shop/cache.yaml';
import cart from '../../examples/shop/cart.yaml';
import catalog from '../../examples/shop/catalog.yaml';
import checkout from '../../examples/shop/checkout.yaml';
import email from '../../examples/shop/email.yaml';
import frontend from '../../examples/shop/frontend.yaml';
import kubeDns from '../../examples/shop/kube-dns.yaml';
import loadgenerator from '../../examples/shop/loadgenerator.yaml';
import metrics from '../../examples/shop/metrics.yaml';
import namespaces from '../../examples/shop/namespaces.yaml';
import ordersDb from '../../examples/shop/orders-db.yaml';
import orders from '../../examples/shop/orders.yaml';
import payment from '../../examples/shop/payment.yaml';
import policyAds from '../../examples/shop/policies/ads.yaml';
import policyAllowDns from '../../examples/shop/policies/allow-dns.yaml';
import policyAllowMetrics from '../../examples/shop/policies/allow-metrics.yaml';
import policyCache from '../../examples/shop/policies/cache.yaml';
import policyCart from '../../examples/shop/policies/cart.yaml';
import policyCatalog from '../../examples/shop/policies/catalog.yaml';
import policyCheckout from '../../examples/shop/policies/checkout.yaml';
import policyDefaultDeny from '../../examples/shop/policies/default-deny.yaml';
import policyEmail from '../../examples/shop/policies/email.yaml';
import policyFrontend from '../../examples/shop/policies/frontend.yaml';
import policyLoadgenerator from '../../examples/shop/policies/loadgenerator.yaml';
import policyOrdersDb from '../../examples/shop/policies/orders-db.yaml';
import policyOrders from '../../examples/shop/policies/orders.yaml';
import policyPayment from '../../examples/shop/policies/payment.yaml';
import policyPrometheus from '../../examples/shop/policies/prometheus.yaml';
import policyRecommendation from '../../examples/shop/policies/recommendation.yaml';
import policyShipping from '../../examples/shop/policies/shipping.yaml';
import prometheus from '../../examples/shop/prometheus.yaml';
import recommendation from '../../examples/shop/recommendation.yaml';
import shipping from '../../examples/shop/shipping.yaml';
import { query, type Question } from '../answers/query.js';
import { DEFAULT_SETTINGS } from '../settings.js';
import { Engine } from '../state.js';
import type { Listed } from './profiles.js';
import { WrongAnswer, type BenchModules, type Subject } from './subject.js';

const FILES: Readonly<Record<string, string>> = {
  'ads.yaml': ads,
  'cache.yaml': cache,
  'cart.yaml': cart,
  'catalog.yaml': catalog,
  'checkout.yaml': checkout,
  'email.yaml': email,
  'frontend.yaml': frontend,
  'kube-dns.yaml': kubeDns,
  'loadgenerator.yaml': loadgenerator,
  'metrics.yaml': metrics,
  'namespaces.yaml': namespaces,
  'orders-db.yaml': ordersDb,
  'orders.yaml': orders,
  'payment.yaml': payment,
  'policies/ads.yaml': policyAds,
  'policies/allow-dns.yaml': policyAllowDns,
  'policies/allow-metrics.yaml': policyAllowMetrics,
  'policies/cache.yaml': policyCache,
  'policies/cart.yaml': policyCart,
  'policies/catalog.yaml': policyCatalog,
  'policies/checkout.yaml': policyCheckout,
  'policies/default-deny.yaml': policyDefaultDeny,
  'policies/email.yaml': policyEmail,
  'policies/frontend.yaml': policyFrontend,
  'policies/loadgenerator.yaml': policyLoadgenerator,
  'policies/orders-db.yaml': policyOrdersDb,
  'policies/orders.yaml': policyOrders,
  'policies/payment.yaml': policyPayment,
  'policies/prometheus.yaml': policyPrometheus,
  'policies/recommendation.yaml': policyRecommendation,
  'policies/shipping.yaml': policyShipping,
  'prometheus.yaml': prometheus,
  'recommendation.yaml': recommendation,
  'shipping.yaml': shipping,
};

/** The file that is edited, and its two texts: as it is, and with the port moved that the question is about. */
const EDITED = 'policies/cart.yaml';
const TEXTS = [FILES[EDITED]!, FILES[EDITED]!.replace('port: 7070', 'port: 7071')] as const;
const VERDICTS = ['ALLOWED', 'DENIED'] as const;

const QUESTION: Question = {
  from: 'shop/checkout',
  to: 'shop/cart',
  protocol: 'TCP',
  port: 7070,
  sourcePort: null,
  node: null,
  http: null,
};

const EDITS_PER_ROUND = 8;

class Shop {
  private readonly engine: Engine;
  private edits = 0;

  constructor(module: WebAssembly.Module) {
    this.engine = new Engine(module, DEFAULT_SETTINGS);
    for (const [file, text] of Object.entries(FILES)) this.engine.manifests.set(file, text);
    this.ask(VERDICTS[0]);
  }

  /** One round: nanoseconds of each edit, from the new text to the answer. Throws WrongAnswer when the answer is not the text's. */
  round(): number[] {
    return Array.from({ length: EDITS_PER_ROUND }, () => {
      const now = ++this.edits % TEXTS.length;
      const start = performance.now();
      this.engine.manifests.set(EDITED, TEXTS[now]!);
      this.ask(VERDICTS[now]!);
      return (performance.now() - start) * 1e6;
    });
  }

  private ask(expected: string): void {
    const answered = query(this.engine.current, QUESTION);
    const verdict = 'error' in answered ? answered.error : answered.answer.verdict;
    if (verdict !== expected) throw new WrongAnswer(`${EDITED}: ${verdict} instead of ${expected}`);
  }

  get memoryBytes(): number {
    return this.engine.current.loader.current.wasm.memoryUsed();
  }
}

export function editSubject({ name, unit }: Listed, { trace }: BenchModules): Subject {
  const shop = new Shop(trace);
  shop.round();
  return {
    name,
    unit,
    perRound: EDITS_PER_ROUND,
    sample: 1,
    batch: 1,
    digest: null,
    memoryBytes: () => shop.memoryBytes,
    own: { name: 'engine', round: () => shop.round() },
    baselines: [],
    // Each answer was looked at when it came.
    check: () => undefined,
  };
}
