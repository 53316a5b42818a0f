// AWQ's layout "gemm", of AutoAWQ: words of codes along the columns of W^T, whose eight codes stand
// in an order of their own.
#include <algorithm>
#include <cctype>
#include <memory>

#include "lowbit/quantised_layout.h"
#include "lowbit/rounding.h"

namespace hypenet {
namespace {

constexpr int64_t kInWord = 8;

/// Column c of a word's eight is nibble kNibbleOf[c]: nibble i holds column 0, 2, 4, 6, 1, 3, 5, 7.
constexpr int64_t kNibbleOf[kInWord] = {0, 4, 1, 5, 2, 6, 3, 7};

/// uint8 [R, 8 W], in order.
Tensor codes_of(const Tensor& words) {
  const Tensor nibble_of = torch::tensor(torch::ArrayRef<int64_t>(kNibbleOf, kInWord));
  return unpack_words(words, 4).unflatten(1, {-1, kInWord}).index_select(2, nibble_of).flatten(1);
}

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

class AwqLayout : public QuantisedLayout {
 public:
  explicit AwqLayout(const QuantisationKeys& keys) {
    keys.bits(keys.has("w_bit") ? "w_bit" : "bits", {4});
    group_ = keys.group(keys.has("q_group_size") ? "q_group_size" : "group_size");
    for (const char* key : {"version", "format", "checkpoint_format"}) {
      const std::string found = lower_case(keys.get<std::string>(key, "gemm"));
      HYPENET_CHECK(found == "gemm", keys.at(key), ": expected gemm, found ", found);
    }
    HYPENET_CHECK(keys.get<bool>("zero_point", true), keys.at("zero_point"),
                  ": expected true, found false");
  }

  std::vector<std::string_view> endings() const override { return {"qweight", "qzeros", "scales"}; }

  QuantisedMatrix form(const std::string&, const StoredModule& stored) const override {
    const Tensor words = stored.matrix("qweight", torch::kInt32);
    const int64_t K = words.size(0), N = words.size(1) * kInWord;
    const int64_t group = group_ == 0 ? K : group_;
    HYPENET_CHECK(K % group == 0, stored.at("qweight"), ": expected a multiple of ", group,
                  " rows, as group_size says, found ", K);
    stored.scales("scales", {K / group, N});
    stored.get("qzeros", {torch::kInt32}, {K / group, N / kInWord});
    return {.type = CodeType::kInt4, .rows = N, .columns = K, .group = group};
  }

  QuantisedMatrix unpack(const std::string& module, const StoredModule& stored) const override {
    QuantisedMatrix matrix = form(module, stored);
    const Tensor codes = codes_of(stored.tensors.at("qweight")).to(torch::kInt8).sub_(8);
    matrix.codes = pack_int4(codes.t());
    matrix.zeros = codes_of(stored.tensors.at("qzeros")).to(torch::kInt16).sub_(8).t().contiguous();
    matrix.scales = stored.tensors.at("scales").t().contiguous();
    return matrix;
  }

 private:
  int64_t group_ = 0;  // 0: all columns
};

}  // namespace

std::unique_ptr<const QuantisedLayout> read_awq_layout(const QuantisationKeys& keys) {
  return std::make_unique<AwqLayout>(keys);
}

}  // namespace hypenet
