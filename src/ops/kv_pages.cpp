// Pages of one type for keys and values: that of the rows, or bfloat16 for float32 rows.
#include "ops/kv_pages.h"

#include <utility>

#include "ops/form.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {

void KvPages::write(const Tensor& places, const KvRows& rows, const Tensor& is_real) const {
  for (const auto& [pages, given] : {std::pair(keys, rows.keys), {values, rows.values}}) {
    const Tensor flat = pages.flatten(0, 1);  // a view
    Tensor fresh = given.to(pages.scalar_type());
    if (is_real.defined()) {
      fresh = torch::where(is_real.view({-1, 1, 1}), fresh, flat.index_select(0, places));
    }
    flat.index_copy_(0, places, fresh);
  }
}

KvRows KvPages::read(const Tensor& pages, int64_t tokens, torch::ScalarType type) const {
  const auto gather = [&](const Tensor& all) {
    return all.index_select(0, pages).flatten(0, 1).narrow(0, 0, tokens).to(type);
  };
  return {gather(keys), gather(values)};
}

KvPages new_kv_pages(torch::IntArrayRef shape, const torch::TensorOptions& options) {
  return {torch::empty(shape, options), torch::empty(shape, options)};
}

int64_t kv_token_bytes(int64_t heads, int64_t head_size, torch::ScalarType type) {
  return 2 * heads * head_size * static_cast<int64_t>(c10::elementSize(type));
}

Tensor places_in_pages(const Tensor& pages, const Tensor& positions, int64_t page_tokens) {
  const Tensor page = pages.index_select(0, positions.floor_divide(page_tokens));
  return page * page_tokens + positions.remainder(page_tokens);
}

void check_kv_pages(const char* op, const KvPages& pages, const Tensor& q) {
  const Tensor &keys = pages.keys, &values = pages.values;
  HYPENET_CHECK(keys.dim() == 4 && keys.size(1) > 0 && keys.size(1) % 64 == 0, op,
                ": cache: expected [pages, P, G, d] with P a multiple of 64, found ", keys.sizes());
  HYPENET_CHECK(values.sizes() == keys.sizes(), op, ": cache: values: expected shape ",
                keys.sizes(), ", found ", values.sizes());
  const torch::ScalarType type = keys.scalar_type(), own = q.scalar_type();
  HYPENET_CHECK(type == own || (type == torch::kBFloat16 && own == torch::kFloat32), op,
                ": cache: expected type ", own, ", found ", type);
  HYPENET_CHECK(values.scalar_type() == type && keys.is_contiguous() && values.is_contiguous(), op,
                ": cache: expected keys and values of one type, contiguous");
  HYPENET_CHECK(keys.device() == q.device() && values.device() == q.device(), op,
                ": cache: expected device ", q.device(), ", found ", keys.device(), " and ",
                values.device());
}

bool suit_step_kernel(const KvPages& pages) {
  const int64_t d = pages.head_size();
  if (pages.keys.is_cpu()) return d % 16 == 0;
  return pages.keys.scalar_type() == torch::kBFloat16 && is_aligned(pages.keys) &&
         is_aligned(pages.values) && is_step_head(d);
}

kernels::KvPageParams kernel_pages(const KvPages& pages) {
  return {.keys = pages.keys.mutable_data_ptr(),
          .values = pages.values.mutable_data_ptr(),
          .page_tokens = pages.page_tokens(),
          .heads = pages.heads(),
          .size = pages.head_size(),
          .type = kernel_type(pages.keys)};
}

}  // namespace hypenet
