import { problem } from '../problems.js';
import { quote, type Fields } from './fields.js';
import { METADATA } from './known-fields.js';
import { isSubdomain, readLabels } from './labels.js';
import type { Metadata } from './objects.js';
import type { Located } from './place.js';

/** What the API server appends to a `generateName`: five characters that are not known before. */
const GENERATED = 'xxxxx';

/** The metadata of an object; `undefined` where it has no name, or labels that cannot be read. */
export function readMetadata(object: Fields, namespaced: boolean): Metadata | undefined {
  const metadata = object.optional('metadata');
  if (!metadata) return undefined;
  metadata.unknown(METADATA);
  const name = readName(metadata);
  const namespace = namespaced ? metadata.text('namespace') || 'default' : '';
  const labels = readLabels(metadata, 'labels');
  const annotations = metadata.within('annotations').asStrings();
  const ownerReferences = metadata.each('ownerReferences').map((owner) => ({
    kind: owner.text('kind') ?? '',
    name: owner.text('name') ?? '',
    controller: owner.boolean('controller'),
  }));
  return name && labels && { name, namespace, labels, annotations, ownerReferences };
}

function readName(metadata: Fields): Located<string> | undefined {
  const name = metadata.string('name');
  if (name?.value) {
    if (!isSubdomain(name.value)) {
      const message = `${quote(name.value)} is not a valid name.`;
      metadata.problems.push(problem('HS1010', name.at, message, { assumed: 'kept' }));
    }
    return name;
  }
  const prefix = metadata.string('generateName');
  if (prefix?.value) return { value: prefix.value + GENERATED, at: prefix.at };
  return metadata.required('name', name?.value === '' ? null : name);
}
