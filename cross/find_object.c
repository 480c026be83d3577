/* Lets a panic unwind in a static musl program that is linked with Debian's libgcc_eh.
 *
 * Debian builds libgcc_eh against glibc 2.35 or later, so its unwinder asks one function of glibc alone where the frame
 * tables of a code address are: _dl_find_object (glibc's manual, "Dynamic Linker Introspection"). musl has none. A
 * static program is one object, so the answer is its own PT_GNU_EH_FRAME segment. Called only while unwinding; allocates
 * nothing, takes no lock. `cross/test TARGET panic` makes a session panic under qemu-user. */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* The layout of glibc's <dlfcn.h> on 64-bit machines, where libgcc reads dlfo_eh_frame alone. */
struct dl_find_object {
  unsigned long long dlfo_flags;
  void *dlfo_map_start, *dlfo_map_end;
  void *dlfo_link_map;
  void *dlfo_eh_frame;
  unsigned long long dlfo_reserved[7];
};

/* The unwinder refers to these weakly, as if they might be absent, and calls all of them where one is there. A static link takes nothing
 * for a weak reference, so without these it would call the null address (amd64's first step of every panic). */
__attribute__((used)) static void *const with_threads[] = {
    (void *)pthread_once,        (void *)pthread_mutex_lock,  (void *)pthread_mutex_unlock,
    (void *)pthread_key_create,  (void *)pthread_getspecific, (void *)pthread_setspecific,
};

struct search {
  uintptr_t address;
  struct dl_find_object *found;
};

static int look(struct dl_phdr_info *object, size_t size, void *data) {
  struct search *search = data;
  uintptr_t frames = 0, start = UINTPTR_MAX, end = 0;
  (void)size;
  for (size_t i = 0; i < object->dlpi_phnum; i++) {
    uintptr_t at = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
    if (object->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME) frames = at;
    if (object->dlpi_phdr[i].p_type != PT_LOAD) continue;
    if (at < start) start = at;
    if (at + object->dlpi_phdr[i].p_memsz > end) end = at + object->dlpi_phdr[i].p_memsz;
  }
  if (!frames || search->address < start || search->address >= end) return 0;
  *search->found = (struct dl_find_object){
      .dlfo_map_start = (void *)start, .dlfo_map_end = (void *)end, .dlfo_eh_frame = (void *)frames};
  return 1;
}

/* 0 and the object that holds `address`, or -1: libgcc then ends the unwinding. */
int _dl_find_object(void *address, struct dl_find_object *found) {
  struct search search = {(uintptr_t)address, found};
  return dl_iterate_phdr(look, &search) ? 0 : -1;
}
