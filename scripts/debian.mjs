// Gets Debian's own i386 kernel and static busybox through apt, without root and without touching the host's apt: its
// state and cache lie in our cache folder. apt verifies signatures and checksums.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { SetupError, say } from "./setup.mjs";

const META_PACKAGE = "linux-image-686";
const BUSYBOX_PACKAGE = "busybox-static";
const KERNEL_NAME = /^linux-image-\d[\w.]*-\d+-686$/;
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** Drivers of disks and CDs, in the order in which they can be loaded. */
const MODULES = [
  "scsi_common",
  "scsi_mod",
  "crct10dif_common",
  "crc-t10dif",
  "crc64",
  "crc64-rocksoft",
  "t10-pi",
  "sd_mod",
  "cdrom",
  "sr_mod",
  "isofs",
  "libata",
  "ata_piix",
];
/** For hosts whose own sources have no i386 kernel: the last Debian release that brings one. */
const FALLBACK_SOURCE = `deb [signed-by=${KEYRING}] http://deb.debian.org/debian bookworm main\n`;
const OTHER_WAY = "Pass a system of your own instead: npm start -- FILE (a floppy image, a disk image or a kernel).";

/** Where downloads and what is made of them are kept. */
export function cacheFolder() {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "vmxon", "debian");
}

/** Run a program; its output, or undefined when it failed. */
function output(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 28, ...options });
  return result.error || result.status !== 0 ? undefined : result.stdout;
}

function requireProgram(program) {
  const result = spawnSync(program, ["--version"], { stdio: "ignore" });
  if (result.error)
    throw new SetupError(`${program} is not on this machine, so that no Debian system can be fetched. ${OTHER_WAY}`);
}

/** A private apt: functions that run apt's programs with configuration, state and cache of its own. */
class PrivateApt {
  constructor(folder, sources) {
    this.folder = folder;
    const sub = (name) => {
      const path = join(folder, name);
      mkdirSync(path, { recursive: true });
      return path;
    };
    const archives = join(sub("cache/archives/partial"), "..");
    this.downloads = sub("downloads");
    this.config = join(folder, "apt.conf");
    const status = join(folder, "status");
    writeFileSync(status, "");
    const lines = [
      // Proxies and the like of the host; its hooks are left out with the folder that holds them.
      ...hostAcquireSettings(),
      `Dir::State "${sub("state")}";`,
      `Dir::State::lists "${join(sub("state/lists/partial"), "..")}";`,
      `Dir::State::status "${status}";`,
      `Dir::Cache "${join(archives, "..")}";`,
      `Dir::Etc::main "/dev/null";`,
      `Dir::Etc::parts "${sub("parts")}";`,
      'APT::Architecture "i386";',
      'APT::Architectures { "i386"; };',
      'APT::Sandbox::User "";',
      'Acquire::Languages "none";',
      'Acquire::Retries "3";',
    ];
    if (sources) {
      const list = join(folder, "sources.list");
      writeFileSync(list, sources);
      lines.push(`Dir::Etc::sourcelist "${list}";`, `Dir::Etc::sourceparts "${sub("sources.d")}";`);
    }
    writeFileSync(this.config, `${lines.join("\n")}\n`);
  }

  run(program, args, options = {}) {
    return output(program, args, { env: { ...process.env, APT_CONFIG: this.config, LC_ALL: "C" }, ...options });
  }

  /** Fetch package lists. One index that fails is not the end: what counts is whether the packages are found. */
  update() {
    this.run("apt-get", ["-q", "update"]);
  }

  /** Names of kernel packages, the wanted one first. */
  kernels() {
    const depends = this.run("apt-cache", ["depends", META_PACKAGE]) ?? "";
    const wanted = [...depends.matchAll(/Depends: (\S+)/g)]
      .map((match) => match[1])
      .filter((name) => KERNEL_NAME.test(name));
    const others = (this.run("apt-cache", ["pkgnames", "linux-image-"]) ?? "")
      .split("\n")
      .filter((name) => KERNEL_NAME.test(name) && !wanted.includes(name))
      .sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
    return [...wanted, ...others];
  }

  /** Path of a package's file, or undefined when it cannot be had. */
  download(name) {
    if (this.run("apt-get", ["-q", "download", name], { cwd: this.downloads }) === undefined) return undefined;
    const file = readdirSync(this.downloads).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith(".deb"));
    return file && join(this.downloads, file);
  }
}

/** Lines of the host's configuration that say how to reach its mirrors. */
function hostAcquireSettings() {
  const dump = output("apt-config", ["dump", "Acquire"]) ?? "";
  return dump.split("\n").filter((line) => /^Acquire::\S+ ".+";$/.test(line));
}

/** Take files out of a package: the first one whose path matches each pattern. Those that are `optional` may be missing. */
function extract(deb, files) {
  const archive = spawnSync("dpkg-deb", ["--fsys-tarfile", deb], { maxBuffer: 1 << 30 });
  if (archive.status !== 0) throw new SetupError(`${deb} cannot be unpacked; delete it and try again.`);
  const tar = (args) => spawnSync("tar", args, { input: archive.stdout, maxBuffer: 1 << 28 });
  const names = tar(["-t"]).stdout.toString().split("\n");
  for (const [pattern, target, optional] of files) {
    const name = names.find((entry) => pattern.test(entry));
    if (!name && optional) continue;
    if (!name) throw new SetupError(`${deb} holds no file ${pattern}. ${OTHER_WAY}`);
    const file = tar(["-xO", name]);
    if (file.status !== 0) throw new SetupError(`${deb}: ${name} cannot be unpacked.`);
    writeFileSync(`${target}.new`, file.stdout);
    renameSync(`${target}.new`, target);
  }
}

/** Packages from the host's own sources, else from Debian's. */
function fetchPackages(folder) {
  const attempts = [{ name: "this machine's package sources", sources: undefined }];
  if (existsSync(KEYRING)) attempts.push({ name: "Debian 12", sources: FALLBACK_SOURCE });
  for (const { name, sources } of attempts) {
    say(`reading the package lists of ${name} (apt-get update) …`);
    const apt = new PrivateApt(join(folder, sources ? "apt-debian" : "apt"), sources);
    apt.update();
    const kernels = apt.kernels();
    for (const kernel of kernels.slice(0, 3)) {
      say(`fetching ${kernel} (about 50 MB) and ${BUSYBOX_PACKAGE} (apt-get download) …`);
      const kernelFile = apt.download(kernel);
      const busyboxFile = kernelFile && apt.download(BUSYBOX_PACKAGE);
      if (busyboxFile) return { apt, kernel, kernelFile, busyboxFile };
    }
  }
  throw new SetupError(`apt could not fetch Debian's i386 kernel and busybox; is the network there? ${OTHER_WAY}`);
}

/**
 * Debian's kernel, drivers of its disks in loading order (none where the package has them packed), and busybox as files,
 * fetched once. Throws SetupError with what to do instead.
 * @returns {{ name: string, kernel: string, busybox: string, modules: string[], folder: string }}
 */
export function prepareDebian() {
  const folder = cacheFolder();
  const manifest = join(folder, "manifest.json");
  const kernel = join(folder, "vmlinuz");
  const busybox = join(folder, "busybox");
  const modules = MODULES.map((name) => join(folder, "modules", `${name}.ko`));
  const result = (contents) => ({
    ...contents,
    kernel,
    busybox,
    modules: modules.filter((file) => existsSync(file)),
    folder,
  });
  if ([manifest, kernel, busybox, join(folder, "modules")].every((file) => existsSync(file))) {
    return result(JSON.parse(readFileSync(manifest, "utf8")));
  }
  for (const program of ["apt-get", "dpkg-deb", "tar"]) requireProgram(program);
  mkdirSync(join(folder, "modules"), { recursive: true });
  const fetched = fetchPackages(folder);
  say("unpacking …");
  extract(fetched.kernelFile, [
    [/^\.\/boot\/vmlinuz-/, kernel],
    ...MODULES.map((name, i) => [new RegExp(`/${name}\\.ko$`), modules[i], true]),
  ]);
  extract(fetched.busyboxFile, [[/\/bin\/busybox$/, busybox]]);
  rmSync(fetched.apt.folder, { recursive: true, force: true });
  const contents = { name: fetched.kernel };
  writeFileSync(manifest, `${JSON.stringify(contents)}\n`);
  return result(contents);
}
