import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";

/** What stands between a runner process and the host besides its own permission model. */
export interface Isolation {
  /** True when the process has a network namespace without any interface. */
  readonly networkNamespace: boolean;
  /** True when the kernel kills the process with its parent; else its processor time limit ends it. */
  readonly diesWithParent: boolean;
  /** Programs that set this up and then become the one named after them. */
  readonly prefix: readonly string[];
}

const FOLDERS = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/**
 * Finds out what this host offers by trying it once: user namespaces may be switched off, and util-linux
 * missing. Neither is needed for an engine to be without network: no engine is given a socket, and the
 * permission model of Node 25 and later denies it to the runner too.
 */
export function findIsolation(): Isolation {
  const prefix: string[] = [];
  const unshare = findProgram("unshare");
  const namespace = unshare === undefined ? [] : [unshare, "--user", "--net", "--map-current-user"];
  const networkNamespace = namespace.length > 0 && runs([...namespace, "true"]);
  if (networkNamespace) prefix.push(...namespace);
  const setpriv = findProgram("setpriv");
  const withParent = setpriv === undefined ? [] : [setpriv, "--pdeathsig", "KILL"];
  const diesWithParent = withParent.length > 0 && runs([...prefix, ...withParent, "true"]);
  if (diesWithParent) prefix.push(...withParent);
  return { networkNamespace, diesWithParent, prefix };
}

function runs([program = "", ...args]: readonly string[]): boolean {
  return (
    spawnSync(program, args, { env: { PATH: FOLDERS.join(":") }, stdio: "ignore", timeout: 5000 }).status ===
    0
  );
}

function findProgram(name: string): string | undefined {
  return FOLDERS.map((folder) => `${folder}/${name}`).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
