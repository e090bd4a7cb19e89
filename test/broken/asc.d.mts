/** AssemblyScript's compiler, as far as it is used here: its own types declare globals of its language, which are not ours. */
export function asc(
  options: readonly string[],
  api: {
    readonly readFile: (name: string, folder: string) => string | null;
    readonly writeFile: (name: string, contents: string | Uint8Array) => void;
    readonly stderr: { readonly write: (text: unknown) => void };
  },
): Promise<{ readonly error: Error | null }>;
