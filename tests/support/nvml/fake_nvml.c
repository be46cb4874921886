/* A stand-in for libnvidia-ml.so.1. FAKE_NVML says what it finds: "2" GPUs; "mig" one GPU cut into two instances; "broken" does not start.
 */
#include <stdlib.h>
#include <string.h>

struct nvml_memory {
  unsigned long long total, free, used;
};
struct nvml_busy {
  unsigned gpu, memory;
};

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };

static char devices[4]; /* 0 and 1: GPUs; 2 and 3: instances of the first */
static int started;

static int is(const char *what) {
  const char *found = getenv("FAKE_NVML");
  return found && strcmp(found, what) == 0;
}

static long index_of(const void *device) {
  return (const char *)device - devices;
}

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
int nvmlDeviceGetUUID(void *device, char *out, unsigned size);
int nvmlDeviceGetName(void *device, char *out, unsigned size);
int nvmlDeviceGetMemoryInfo(void *device, struct nvml_memory *out);
int nvmlDeviceGetUtilizationRates(void *device, struct nvml_busy *out);
int nvmlDeviceGetPowerUsage(void *device, unsigned *out);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *out);
int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *pending);
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **out);
const char *nvmlErrorString(int code);

int nvmlInit_v2(void) {
  if (is("broken"))
    return DRIVER_NOT_LOADED;
  started++;
  return OK;
}

int nvmlShutdown(void) {
  return started-- > 0 ? OK : INVALID;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = is("mig") ? 1 : 2;
  return started ? OK : INVALID;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = &devices[index];
  return OK;
}

static int text(const char *from, char *out, unsigned size) {
  if (strlen(from) >= size)
    return INVALID;
  memcpy(out, from, strlen(from) + 1);
  return OK;
}

int nvmlDeviceGetUUID(void *device, char *out, unsigned size) {
  static const char *const uuids[] = {"GPU-aaaa0000-0000", "GPU-bbbb1111-1111", "MIG-cccc2222-2222", "MIG-dddd3333-3333"};
  return text(uuids[index_of(device)], out, size);
}

int nvmlDeviceGetName(void *device, char *out, unsigned size) {
  return text(index_of(device) < 2 ? "NVIDIA Stand-in 80GB" : "NVIDIA Stand-in MIG 3g.40gb", out, size);
}

int nvmlDeviceGetMemoryInfo(void *device, struct nvml_memory *out) {
  unsigned long long total = index_of(device) < 2 ? 80ull << 30 : 40ull << 30;
  *out = (struct nvml_memory){total, total - (1ull << 30), 1ull << 30};
  return OK;
}

int nvmlDeviceGetUtilizationRates(void *device, struct nvml_busy *out) {
  *out = (struct nvml_busy){40u + (unsigned)index_of(device), 7};
  return index_of(device) < 2 ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *out) {
  *out = 250500;
  return index_of(device) < 2 ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *out) {
  (void)device;
  *out = 61;
  return sensor == 0 ? OK : INVALID;
}

int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *pending) {
  (void)device;
  *now = *pending = is("mig");
  return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **out) {
  (void)device;
  *out = &devices[2 + (index & 1)];
  return index < 2 ? OK : NOT_FOUND;
}

const char *nvmlErrorString(int code) {
  return code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Unknown Error";
}
