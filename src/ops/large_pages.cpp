// The block's pages come to be as tensors are copied into them, so that at no time more than one
// tensor is there twice.
#include "ops/large_pages.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;
constexpr size_t kAlignment = 64;  // of each tensor: as libtorch's own

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

/// Fresh memory that starts at a large page.
std::shared_ptr<std::byte> large_pages(size_t bytes) {
  const size_t mapped = round_up(bytes, kLargePage) + kLargePage;
  void* const start =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  HYPENET_CHECK(start != MAP_FAILED, "large pages: expected ", mapped, " bytes of memory, found ",
                std::strerror(errno));
  void* place = start;
  size_t room = mapped;
  std::align(kLargePage, bytes, place, room);
  madvise(place, room, MADV_HUGEPAGE);  // a wish: nothing is wrong where it is not granted
  return {static_cast<std::byte*>(place), [start, mapped](std::byte*) { munmap(start, mapped); }};
}

}  // namespace

void move_to_large_pages(std::span<const torch::Tensor> tensors) {
  const torch::NoGradGuard no_grad;
  size_t bytes = 0;
  for (const torch::Tensor& x : tensors) {
    if (x.is_cpu()) bytes += round_up(x.nbytes(), kAlignment);
  }
  if (bytes == 0) return;
  const std::shared_ptr<std::byte> block = large_pages(bytes);
  size_t used = 0;
  for (const torch::Tensor& x : tensors) {
    if (!x.is_cpu() || x.numel() == 0) continue;
    const torch::Tensor moved = torch::from_blob(
        block.get() + used, x.sizes(), [block](void*) {}, x.scalar_type());
    moved.copy_(x);
    x.set_data(moved);
    used += round_up(x.nbytes(), kAlignment);
  }
  malloc_trim(0);  // freed weights that the allocator would keep
}

}  // namespace hypenet
