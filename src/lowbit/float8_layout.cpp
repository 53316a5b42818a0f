// fp8 as Qwen3-*-FP8 and DeepSeek have it (quant_method "fp8"): weight F8_E4M3 [N, K] beside
// weight_scale_inv of blocks, which despite its name multiplies, or weight_scale of all or a row.
#include "lowbit/quantised_layout.h"

namespace hypenet {
namespace {

constexpr const char* kBlockScales = "weight_scale_inv";
constexpr const char* kScales = "weight_scale";

class Float8Layout : public QuantisedLayout {
 public:
  explicit Float8Layout(const QuantisationKeys& keys) {
    keys.one_of("fmt", {"e4m3", "float8_e4m3fn"}, "e4m3");
    keys.one_of("activation_scheme", {"dynamic", "static"}, "dynamic");
    if (!keys.has("weight_block_size")) return;
    const auto sizes = keys.get<std::vector<int64_t>>("weight_block_size");
    HYPENET_CHECK(sizes.size() == 2 && sizes[0] > 0 && sizes[1] > 0, keys.at("weight_block_size"),
                  ": expected two sizes above 0, found ",
                  keys.json().at("weight_block_size").dump());
    block_rows_ = sizes[0];
    block_columns_ = sizes[1];
  }

  std::vector<std::string_view> endings() const override {
    return {"weight", kBlockScales, kScales};
  }

  QuantisedMatrix form(const std::string&, const StoredModule& stored) const override {
    QuantisedMatrix matrix = read(stored);
    matrix.codes = matrix.scales = Tensor();
    return matrix;
  }

  QuantisedMatrix unpack(const std::string&, const StoredModule& stored) const override {
    QuantisedMatrix matrix = read(stored);
    matrix.codes = matrix.codes.contiguous();
    const int64_t scale_rows = divided_up(matrix.rows, matrix.scale_rows);
    matrix.scales = matrix.scales.reshape({scale_rows, matrix.groups()}).contiguous();
    return matrix;
  }

 private:
  /// With the stored tensors, which cost nothing to have.
  QuantisedMatrix read(const StoredModule& stored) const {
    const Tensor codes = stored.matrix("weight", torch::kFloat8_e4m3fn);
    const int64_t N = codes.size(0), K = codes.size(1);
    QuantisedMatrix matrix{
        .type = CodeType::kFloat8, .rows = N, .columns = K, .group = K, .codes = codes};
    HYPENET_CHECK(!stored.has(kScales) || !stored.has(kBlockScales), stored.at(kScales),
                  ": expected scales of one kind, found ", kBlockScales, " as well");
    if (block_rows_ > 0) {
      matrix.scale_rows = block_rows_;
      matrix.group = block_columns_;
      matrix.scales =
          stored.scales(kBlockScales, {divided_up(N, block_rows_), divided_up(K, block_columns_)});
      return matrix;
    }
    const std::string ending = stored.has(kBlockScales) ? kBlockScales : kScales;
    const auto found = stored.tensors.find(ending);
    const bool is_of_all = found != stored.tensors.end() && found->second.numel() == 1;
    const std::vector<int64_t> shape =
        is_of_all ? found->second.sizes().vec() : std::vector<int64_t>{N, 1};
    const bool is_flat = !is_of_all && found != stored.tensors.end() && found->second.dim() == 1;
    matrix.scales = stored.scales(ending, is_flat ? std::vector<int64_t>{N} : shape);
    if (is_of_all) matrix.scale_rows = N;
    return matrix;
  }

  int64_t block_rows_ = 0, block_columns_ = 0;  // 0: no blocks
};

}  // namespace

std::unique_ptr<const QuantisedLayout> read_float8_layout(const QuantisationKeys& keys) {
  return std::make_unique<Float8Layout>(keys);
}

}  // namespace hypenet
