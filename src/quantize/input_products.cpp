// Products of a batch are float32, their sums float64. X^T X is symmetric: of its blocks of columns
// only what lies on the diagonal and left of it is computed.
#include "quantize/input_products.h"

#include <algorithm>

#include "base/error.h"
#include "ops/linear.h"

namespace hypenet {
namespace {

constexpr int64_t kBlock = 1024;  // columns of X in a product
constexpr int64_t kSample = 128;  // tokens of a batch

/// sums += X^T X, the lower blocks; x [tokens, K] float32.
void add_products(const Tensor& sums, const Tensor& x) {
  const int64_t K = x.size(1);
  const Tensor columns = x.t().contiguous();  // [K, tokens]: sums run along memory
  for (int64_t begin = 0; begin < K; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, K);
    const Tensor rows = product(columns.slice(0, begin, end), columns.slice(0, 0, end));
    sums.slice(0, begin, end).slice(1, 0, end).add_(rows);
  }
}

/// group.shift += (X_original - X)^T X; x [tokens, K] float32. The original inputs are given back.
void add_shift(InputProducts::Group& group, const Tensor& x) {
  const int64_t K = x.size(1);
  if (!group.shift.defined()) group.shift = torch::zeros({K, K}, torch::kFloat64);
  group.shift.add_(product((group.original - x).t().contiguous(), x.t().contiguous()));
  group.original = Tensor();
}

/// What add_products left out.
void fill_upper_blocks(const Tensor& sums) {
  const int64_t K = sums.size(0);
  for (int64_t begin = kBlock; begin < K; begin += kBlock) {
    const Tensor below = sums.slice(0, begin, std::min(begin + kBlock, K)).slice(1, 0, begin);
    sums.slice(0, 0, begin).slice(1, begin, std::min(begin + kBlock, K)).copy_(below.t());
  }
}

}  // namespace

InputProducts::InputProducts(std::vector<LinearPlace> places, bool keeps_samples)
    : places_(std::move(places)), keeps_samples_(keeps_samples) {
  for (const LinearPlace& place : places_) {
    place.linear->on_input = [this, &place](const Tensor& x) { see(place, x); };
  }
}

InputProducts::~InputProducts() {
  for (const LinearPlace& place : places_) place.linear->on_input = {};
}

InputProducts::Group& InputProducts::group_of(const LinearPlace& place, const Tensor& x) {
  const auto known = group_of_.find(place.name);
  if (known != group_of_.end()) return groups_[known->second];
  auto group = std::ranges::find_if(groups_, [&](const Group& one) { return one.seen.is_same(x); });
  if (group == groups_.end()) {
    const int64_t K = x.size(-1);
    groups_.push_back({.products = torch::zeros({K, K}, torch::kFloat64)});
    group = std::prev(groups_.end());
  }
  group->places.push_back(place);
  group_of_[place.name] = static_cast<size_t>(group - groups_.begin());
  return *group;
}

void InputProducts::see(const LinearPlace& place, const Tensor& x) {
  Group& group = group_of(place, x);
  if (group.seen.is_same(x)) return;
  group.seen = x;
  const Tensor rows = x.detach().reshape({-1, x.size(-1)}).to(torch::kFloat32);
  if (sees_originals_) {
    group.original = rows.clone();
    return;
  }
  add_products(group.products, rows);
  if (group.original.defined()) add_shift(group, rows);
  group.tokens += rows.size(0);
  if (keeps_samples_) {
    const int64_t stride = std::max<int64_t>(1, rows.size(0) / kSample);
    group.samples.push_back(rows.slice(0, 0, rows.size(0), stride).clone());
  }
}

std::vector<InputProducts::Group> InputProducts::finish() {
  for (const LinearPlace& place : places_) {
    place.linear->on_input = {};
    HYPENET_CHECK(group_of_.contains(place.name), "quantize: ", place.name,
                  ": expected inputs, found none");
  }
  for (Group& group : groups_) {
    group.seen = Tensor();
    fill_upper_blocks(group.products);
    group.products.div_(group.tokens);
    if (group.shift.defined()) group.shift.div_(group.tokens);
  }
  return std::move(groups_);
}

}  // namespace hypenet
