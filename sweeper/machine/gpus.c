#include "sweeper/machine/gpus.h"

#include <dirent.h>
#include <dlfcn.h>
#include <math.h>

#include "base/file.h"
#include "base/mem.h"

/* ---- NVML, as far as it is used; the types are those of its stable C interface ---- */

enum { NVML_OK = 0, NVML_TEMPERATURE_GPU = 0, NVML_MIG_ON = 1, NVML_MIG_MAX = 16 };

typedef void *nvml_device;
struct nvml_memory {
  unsigned long long total, free, used;
};
struct nvml_busy {
  unsigned gpu, memory;
};

struct nvml {
  void *loaded;
  int (*init)(void);
  int (*shutdown)(void);
  int (*count)(unsigned *);
  int (*handle)(unsigned, nvml_device *);
  int (*uuid)(nvml_device, char *, unsigned);
  int (*name)(nvml_device, char *, unsigned);
  int (*memory)(nvml_device, struct nvml_memory *);
  int (*busy)(nvml_device, struct nvml_busy *);
  int (*power)(nvml_device, unsigned *);
  int (*temperature)(nvml_device, int, unsigned *);
  int (*mig_mode)(nvml_device, unsigned *, unsigned *);
  int (*mig_handle)(nvml_device, unsigned, nvml_device *);
  const char *(*error)(int);
};

struct symbol {
  const char *name;
  size_t offset;
  bool optional;
};

static const struct symbol symbols[] = {
    {"nvmlInit_v2", offsetof(struct nvml, init), false},
    {"nvmlShutdown", offsetof(struct nvml, shutdown), false},
    {"nvmlDeviceGetCount_v2", offsetof(struct nvml, count), false},
    {"nvmlDeviceGetHandleByIndex_v2", offsetof(struct nvml, handle), false},
    {"nvmlDeviceGetUUID", offsetof(struct nvml, uuid), false},
    {"nvmlDeviceGetName", offsetof(struct nvml, name), false},
    {"nvmlDeviceGetMemoryInfo", offsetof(struct nvml, memory), false},
    {"nvmlDeviceGetUtilizationRates", offsetof(struct nvml, busy), false},
    {"nvmlDeviceGetPowerUsage", offsetof(struct nvml, power), true},
    {"nvmlDeviceGetTemperature", offsetof(struct nvml, temperature), true},
    {"nvmlDeviceGetMigMode", offsetof(struct nvml, mig_mode), true},
    {"nvmlDeviceGetMigDeviceHandleByIndex", offsetof(struct nvml, mig_handle), true},
    {"nvmlErrorString", offsetof(struct nvml, error), false},
};

struct entry {
  struct gpu gpu;
  nvml_device device;
  char sysfs[300]; /* AMD: its directory */
};

struct gpus {
  struct nvml nvml;
  bool nvml_ready;
  struct entry *entries;
  size_t count;
  char trouble[512];
};

static void nvml_close(struct gpus *gpus) {
  if (gpus->nvml_ready)
    gpus->nvml.shutdown();
  if (gpus->nvml.loaded)
    dlclose(gpus->nvml.loaded);
  gpus->nvml_ready = false;
  gpus->nvml.loaded = NULL;
}

static bool nvml_open(struct gpus *gpus, const char *path, struct err *err) {
  struct nvml *nvml = &gpus->nvml;
  nvml->loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!nvml->loaded)
    return true; /* no driver, no GPUs */
  for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
    void *found = dlsym(nvml->loaded, symbols[i].name);
    if (!found && !symbols[i].optional)
      return err_set(err, ERR_UNSUPPORTED, "%s has no %s", path, symbols[i].name);
    memcpy((char *)nvml + symbols[i].offset, &found, sizeof found);
  }
  int code = nvml->init();
  if (code != NVML_OK)
    return err_set(err, ERR_UNAVAILABLE, "%s does not start: %s", path, nvml->error(code));
  gpus->nvml_ready = true;
  return true;
}

static void add_nvidia(struct gpus *gpus, nvml_device device) {
  struct entry *entry = &gpus->entries[gpus->count];
  struct nvml_memory memory;
  if (gpus->count == GPUS_MAX)
    return;
  *entry = (struct entry){.gpu.maker = GPU_NVIDIA, .device = device};
  if (gpus->nvml.uuid(device, entry->gpu.uuid, sizeof entry->gpu.uuid) != NVML_OK || !entry->gpu.uuid[0])
    return;
  if (gpus->nvml.name(device, entry->gpu.name, sizeof entry->gpu.name) != NVML_OK)
    snprintf(entry->gpu.name, sizeof entry->gpu.name, "NVIDIA GPU");
  if (gpus->nvml.memory(device, &memory) == NVML_OK)
    entry->gpu.memory = (int64_t)MIN_OF(memory.total, (unsigned long long)INT64_MAX);
  gpus->count++;
}

/* A GPU that is cut into instances is used by them alone. */
static bool add_instances(struct gpus *gpus, nvml_device device) {
  unsigned now = 0, pending = 0;
  nvml_device instance;
  if (!gpus->nvml.mig_mode || !gpus->nvml.mig_handle || gpus->nvml.mig_mode(device, &now, &pending) != NVML_OK || now != NVML_MIG_ON)
    return false;
  for (unsigned i = 0; i < NVML_MIG_MAX; i++)
    if (gpus->nvml.mig_handle(device, i, &instance) == NVML_OK)
      add_nvidia(gpus, instance);
  return true;
}

static bool find_nvidia(struct gpus *gpus, const char *path, struct err *err) {
  unsigned count = 0;
  nvml_device device;
  if (!nvml_open(gpus, path, err))
    return false;
  if (!gpus->nvml_ready)
    return true;
  int code = gpus->nvml.count(&count);
  if (code != NVML_OK)
    return err_set(err, ERR_UNAVAILABLE, "%s cannot count GPUs: %s", path, gpus->nvml.error(code));
  for (unsigned i = 0; i < MIN_OF(count, (unsigned)GPUS_MAX); i++)
    if (gpus->nvml.handle(i, &device) == NVML_OK && !add_instances(gpus, device))
      add_nvidia(gpus, device);
  return true;
}

/* ---- AMD ---- */

static bool sysfs_text(const char *dir, const char *name, char *out, size_t size) {
  char path[600];
  struct err err;
  AUTO_BUF struct buf text = BUF_INIT(4096);
  snprintf(path, sizeof path, "%s/%s", dir, name);
  out[0] = 0;
  if (!file_read(path, &text, &err))
    return false;
  snprintf(out, size, "%.*s", STR_ARG(str_trim(buf_str(&text))));
  return out[0] != 0;
}

static double sysfs_number(const char *dir, const char *name) {
  char text[64];
  int64_t value;
  return sysfs_text(dir, name, text, sizeof text) && str_to_i64(str_of(text), &value) ? (double)value : NAN;
}

static void add_amd(struct gpus *gpus, const char *dir) {
  struct entry *entry = &gpus->entries[gpus->count];
  char vendor[32], id[GPU_UUID_MAX - 4];
  if (gpus->count == GPUS_MAX)
    return;
  *entry = (struct entry){.gpu.maker = GPU_AMD};
  /* Without an id of its own (a GPU inside a processor) it cannot be named to a job. */
  if (!sysfs_text(dir, "vendor", vendor, sizeof vendor) || strcmp(vendor, "0x1002") != 0 || !sysfs_text(dir, "unique_id", id, sizeof id))
    return;
  snprintf(entry->sysfs, sizeof entry->sysfs, "%s", dir);
  snprintf(entry->gpu.uuid, sizeof entry->gpu.uuid, "GPU-%s", id);
  if (!sysfs_text(dir, "product_name", entry->gpu.name, sizeof entry->gpu.name))
    snprintf(entry->gpu.name, sizeof entry->gpu.name, "AMD GPU");
  double memory = sysfs_number(dir, "mem_info_vram_total");
  entry->gpu.memory = memory > 0 ? (int64_t)memory : 0;
  gpus->count++;
}

static void find_amd(struct gpus *gpus, const char *drm_dir) {
  bool cards[GPUS_MAX * 2] = {false};
  int64_t number;
  DIR *dir = opendir(drm_dir);
  if (!dir)
    return;
  for (struct dirent *entry; (entry = readdir(dir));)
    if (strncmp(entry->d_name, "card", 4) == 0 && str_to_i64(str_of(entry->d_name + 4), &number) && number >= 0 &&
        number < (int64_t)ARRAY_LEN(cards))
      cards[number] = true;
  closedir(dir);
  for (size_t i = 0; i < ARRAY_LEN(cards); i++) {
    char path[256];
    int n = snprintf(path, sizeof path, "%s/card%zu/device", drm_dir, i);
    if (cards[i] && n > 0 && (size_t)n < sizeof path)
      add_amd(gpus, path);
  }
}

/* ---- which of them are ours ---- */

/* CUDA's rule: the list ends at the first item that names no GPU. */
static size_t named(const struct gpus *gpus, struct str item) {
  int64_t index;
  size_t found = SIZE_MAX;
  if (str_to_i64(item, &index))
    return index >= 0 && index < (int64_t)gpus->count ? (size_t)index : SIZE_MAX;
  for (size_t i = 0; i < gpus->count && item.n; i++) {
    if (!str_starts(str_of(gpus->entries[i].gpu.uuid), item))
      continue;
    if (found != SIZE_MAX)
      return SIZE_MAX; /* the beginning of several */
    found = i;
  }
  return found;
}

static bool keep_visible(struct gpus *gpus, const char *visible) {
  bool kept[GPUS_MAX] = {false};
  struct str rest = str_of(visible), item;
  size_t count = 0;
  struct entry *entries = mem_array(GPUS_MAX, sizeof *entries);
  if (!entries)
    return false;
  while (str_split(&rest, ',', &item)) {
    size_t i = named(gpus, str_trim(item));
    if (i == SIZE_MAX || kept[i])
      break;
    kept[i] = true;
    entries[count++] = gpus->entries[i];
  }
  mem_free(gpus->entries);
  gpus->entries = entries;
  gpus->count = count;
  return true;
}

struct gpus *gpus_new(const struct gpus_conf *conf, struct err *ret_trouble) {
  struct gpus *gpus = mem_zalloc(sizeof *gpus);
  *ret_trouble = (struct err){.code = ERR_NONE};
  if (gpus)
    gpus->entries = mem_array(GPUS_MAX + 1, sizeof *gpus->entries);
  if (!gpus || !gpus->entries) {
    mem_free(gpus);
    err_no_memory(ret_trouble);
    return NULL;
  }
  if (!find_nvidia(gpus, conf->nvml ? conf->nvml : "libnvidia-ml.so.1", ret_trouble)) {
    gpus->count = 0;
    nvml_close(gpus);
    snprintf(gpus->trouble, sizeof gpus->trouble, "GPUs: %s", ret_trouble->text);
  }
  find_amd(gpus, conf->drm_dir ? conf->drm_dir : "/sys/class/drm");
  if (conf->visible && !keep_visible(gpus, conf->visible)) {
    gpus_free(gpus);
    err_no_memory(ret_trouble);
    return NULL;
  }
  return gpus;
}

void gpus_free(struct gpus *gpus) {
  if (!gpus)
    return;
  nvml_close(gpus);
  mem_free(gpus->entries);
  mem_free(gpus);
}

/* ---- looking ---- */

const char *gpus_trouble(const struct gpus *gpus) {
  return gpus->trouble[0] ? gpus->trouble : NULL;
}

size_t gpus_count(const struct gpus *gpus) {
  return gpus->count;
}

const struct gpu *gpus_at(const struct gpus *gpus, size_t i) {
  return &gpus->entries[i].gpu;
}

size_t gpus_find(const struct gpus *gpus, struct str uuid) {
  for (size_t i = 0; i < gpus->count; i++)
    if (str_is(uuid, gpus->entries[i].gpu.uuid))
      return i;
  return SIZE_MAX;
}

static void sample_nvidia(const struct nvml *nvml, nvml_device device, struct gpu_use *ret) {
  struct nvml_busy busy;
  struct nvml_memory memory;
  unsigned value;
  if (nvml->busy(device, &busy) == NVML_OK)
    ret->busy = busy.gpu / 100.0;
  if (nvml->memory(device, &memory) == NVML_OK)
    ret->memory_used = (double)memory.used;
  if (nvml->power && nvml->power(device, &value) == NVML_OK)
    ret->watts = value / 1000.0;
  if (nvml->temperature && nvml->temperature(device, NVML_TEMPERATURE_GPU, &value) == NVML_OK)
    ret->celsius = value;
}

void gpus_sample(const struct gpus *gpus, size_t i, struct gpu_use *ret) {
  const struct entry *entry = &gpus->entries[i];
  *ret = (struct gpu_use){NAN, NAN, NAN, NAN};
  if (entry->gpu.maker == GPU_NVIDIA) {
    sample_nvidia(&gpus->nvml, entry->device, ret);
    return;
  }
  ret->busy = sysfs_number(entry->sysfs, "gpu_busy_percent") / 100;
  ret->memory_used = sysfs_number(entry->sysfs, "mem_info_vram_used");
}

void gpus_variables(const struct gpus *gpus, const size_t *which, size_t count, struct gpu_variable ret[GPUS_VARIABLES]) {
  static const char *const names[GPUS_VARIABLES] = {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"};
  unsigned amd = 0;
  for (size_t i = 0; i < GPUS_VARIABLES; i++)
    ret[i] = (struct gpu_variable){.name = names[i], .value = BUF_INIT(GPUS_MAX * GPU_UUID_MAX)};
  for (size_t i = 0; i < count; i++) {
    const struct gpu *gpu = gpus_at(gpus, which[i]);
    struct buf *value = &ret[gpu->maker == GPU_AMD].value;
    buf_printf(value, "%s%s", value->n ? "," : "", gpu->uuid);
    if (gpu->maker == GPU_AMD) {
      buf_printf(&ret[2].value, "%s%u", amd ? "," : "", amd);
      amd++;
    }
  }
}
