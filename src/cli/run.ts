/** `vmxon run`: builds a domain from the command line, shows it, plays its script and reports its end. */
import { existsSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { VmxonError } from "../common/errors.ts";
import type { StopReason } from "../hypervisor/stop-reason.ts";
import type { DomainConfig } from "../toolstack/config.ts";
import { Domain } from "../toolstack/domain.ts";
import type { Host } from "../toolstack/host.ts";
import { NODE_HOST, preferMainThread } from "../toolstack/node/host.ts";
import { assignFiles } from "./assign-files.ts";
import { offerControl } from "./control-methods.ts";
import { EXIT } from "./exit-status.ts";
import { helpText } from "./help.ts";
import { parseRunOptions, type RunOptions } from "./options.ts";
import { profileText } from "./profile-text.ts";
import { attachTerminal, stdioSerial } from "./terminal.ts";

/** Statuses that shells give to commands ended by a signal. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Something for the person at the terminal. */
export function say(message: string): void {
  process.stderr.write(`vmxon: ${message}\n`);
}

/** Run a domain to its end; the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const options = parseRunOptions(args, existsSync);
  if (options.help) {
    process.stdout.write(`${helpText("run")}\n`);
    return EXIT.ok;
  }
  const { config } = options;
  await assignFiles(options.files, config, NODE_HOST);
  requireSomethingToBoot(options);
  config.name ??= nameOf(options);
  if (options.nographic) config.serial ??= "stdio";
  return play(options, config, (host) => Domain.create(config, { host }));
}

/** Show a domain that `build` makes from `config`, play the script, and wait for its end; the exit status. */
export async function play(
  options: RunOptions,
  config: DomainConfig,
  build: (host: Host) => Promise<Domain>,
): Promise<number> {
  let built: Domain | undefined;
  const leave = (): void => void built?.destroy();
  const host: Host = {
    ...NODE_HOST,
    openSerial: async (target, how) => (target === "stdio" ? stdioSerial(leave) : NODE_HOST.openSerial(target, how)),
  };
  const onTerminal = chooseScreen(options, config);
  preferMainThread();
  const domain = await build(host);
  built = domain;
  for (const notice of domain.notices) say(notice);
  const control = await offerControl(domain, say);

  let status: number = EXIT.ok;
  const signalled = (signal: NodeJS.Signals): void => {
    status = SIGNALS[signal as keyof typeof SIGNALS];
    leave();
  };
  for (const signal of Object.keys(SIGNALS)) process.once(signal, signalled);
  process.stdout.on("error", leave);

  const terminal = onTerminal ? attachTerminal(domain, leave) : undefined;
  let failure: Error | undefined;
  let reason: StopReason;
  try {
    if (!terminal) domain.onNotice(say);
    domain.start();
    if (options.steps.some(({ kind }) => kind !== "screenshot")) {
      failure = await playScript(domain, options);
      leave();
      reason = await domain.exited;
    } else {
      reason = await domain.exited;
      // Pictures without a script are taken of what the guest leaves behind.
      failure = await playScript(domain, options);
    }
  } finally {
    terminal?.close();
    await control?.close();
    for (const signal of Object.keys(SIGNALS)) process.off(signal, signalled);
  }

  if (options.screen === "text" && !terminal) process.stdout.write(`${domain.screen.text()}\n`);
  if (options.traceExits) process.stderr.write(exitTable(domain));
  const profile = domain.profile();
  if (profile) process.stderr.write(profileText(profile));
  if (failure) {
    say(failure.message);
    return status || EXIT.failed;
  }
  if (reason.kind === "crash") {
    say(reason.message);
    return status || EXIT.failed;
  }
  if (terminal && reason.kind !== "destroyed") say(reason.message);
  return status;
}

function requireSomethingToBoot({ config }: RunOptions): void {
  const { fda, fdb, hda, hdb, hdc, hdd, cdrom, disk, kernel } = config;
  if ([fda, fdb, hda, hdb, hdc, hdd, cdrom, disk, kernel].some((image) => image !== undefined)) return;
  throw new VmxonError("usage", "nothing to boot. Type: vmxon run FILE (a floppy, disk or CD image, or a kernel)");
}

/** A domain without a name has that of what it boots. */
function nameOf({ files, config }: RunOptions): string {
  const image = files[0] ?? config.kernel ?? config.fda ?? config.hda;
  return typeof image === "string" ? basename(image) : "vmxon";
}

/** Whether the screen is drawn in the terminal; with -nographic the serial line gets it instead. */
function chooseScreen(options: RunOptions, config: DomainConfig): boolean {
  if (options.nographic) {
    if (options.screen === "text")
      throw new VmxonError("usage", "-nographic and --screen=text contradict each other; leave one out.");
    return false;
  }
  const onTerminal = process.stdout.isTTY && process.stdin.isTTY && options.screen !== "none";
  const serial = typeof config.serial === "string" ? [config.serial] : (config.serial ?? []);
  if (onTerminal && serial.includes("stdio")) {
    throw new VmxonError(
      "usage",
      "the screen and the serial line cannot both have this terminal; add -nographic, or use -serial file:NAME.",
    );
  }
  return onTerminal;
}

async function writePicture(domain: Domain, file: string): Promise<void> {
  const picture = await domain.screen.png();
  try {
    writeFileSync(file, picture);
  } catch (cause) {
    throw new VmxonError("io", `${file}: the screenshot cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** Do the steps in order; the error that ended them early. */
async function playScript(domain: Domain, options: RunOptions): Promise<Error | undefined> {
  try {
    for (const step of options.steps) {
      if (step.kind === "expect") await domain.waitFor(step.pattern, { timeout: options.timeout });
      else if (step.kind === "press") await domain.keyboard.press(step.chord);
      else if (step.kind === "wait") await domain.wait(step.ms);
      else if (step.kind === "screenshot") await writePicture(domain, step.file);
      else if (options.nographic) domain.serial[0]?.write(step.text.replaceAll("\n", "\r"));
      else await domain.keyboard.type(step.text);
    }
    return undefined;
  } catch (error) {
    if (error instanceof VmxonError) return error;
    throw error;
  }
}

function exitTable(domain: Domain): string {
  const counts = domain.exitCounts();
  const total = counts.reduce((sum, { count }) => sum + count, 0);
  const lines = counts.map(
    ({ count, reason, name }) => `${String(count).padStart(12)}  ${String(reason).padStart(3)}  ${name}\n`,
  );
  return [
    "       exits  reason\n",
    ...lines,
    `${String(total).padStart(12)}       total, in ${domain.instructions()} guest instructions\n`,
  ].join("");
}
