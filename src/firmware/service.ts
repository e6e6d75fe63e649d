/** The contract between ROM stubs and their services; the hypervisor, which catches the traps, owns the definition. */
export {
  FIRMWARE_PORT,
  type Lasting,
  type Rom,
  type Service,
  type ServiceContext,
  TRAP_BYTES,
} from "../hypervisor/firmware-service.ts";
