// GPTQ's layout, of AutoGPTQ and GPTQModel: words of codes along the rows of W^T, and the trap of
// its first version, which stores zeros less 1: each by itself, and GPTQModel words of them.
#include <algorithm>
#include <memory>
#include <utility>

#include "lowbit/module_pattern.h"
#include "lowbit/quantised_layout.h"

namespace hypenet {
namespace {

constexpr int64_t kWordBits = 32;

struct Scheme {
  int64_t bits = 4;
  int64_t group = 0;  // 0: all columns
};

/// A rule of "dynamic": the first whose expression matches a module's name counts.
struct Rule {
  ModulePattern pattern;
  std::string expression;
  bool is_exclusion = false;
  Scheme scheme = {};
};

Scheme read_scheme(const QuantisationKeys& keys, const Scheme* otherwise) {
  Scheme scheme = otherwise != nullptr ? *otherwise : Scheme();
  if (otherwise == nullptr || keys.has("bits")) scheme.bits = keys.bits("bits", {4, 8});
  if (otherwise == nullptr || keys.has("group_size")) scheme.group = keys.group("group_size");
  return scheme;
}

/// Whether GPTQModel is among those that the folder names as its writers.
bool is_by_gptqmodel(const QuantisationKeys& keys) {
  if (!keys.has("meta") || !keys.object("meta").has("quantizer")) return false;
  // A text, over which a loop goes once, or several.
  for (const Json& writer : keys.json().at("meta").at("quantizer")) {
    if (writer.is_string() && writer.get<std::string>().starts_with("gptqmodel:")) return true;
  }
  return false;
}

class GptqLayout : public QuantisedLayout {
 public:
  explicit GptqLayout(const QuantisationKeys& keys) : scheme_(read_scheme(keys, nullptr)) {
    const std::string older = keys.one_of("format", {"gptq", "gptq_v2"}, "gptq");
    const std::string format = keys.one_of("checkpoint_format", {"gptq", "gptq_v2"}, older);
    keys.one_of("pack_dtype", {"int32"}, "int32");
    adds_one_ = format == "gptq";
    adds_to_words_ = adds_one_ && is_by_gptqmodel(keys);
    if (keys.has("dynamic") && keys.json().at("dynamic") != Json(false)) {
      read_rules(keys.object("dynamic"));
    }
  }

  std::vector<std::string_view> endings() const override {
    return {"qweight", "qzeros", "scales", "g_idx"};
  }

  QuantisedMatrix form(const std::string& module, const StoredModule& stored) const override {
    const Scheme scheme = scheme_of(module, stored);
    const int64_t in_word = kWordBits / scheme.bits;
    const Tensor words = stored.matrix("qweight", torch::kInt32);
    const int64_t N = words.size(1), K = words.size(0) * in_word;
    HYPENET_CHECK(N % in_word == 0, stored.at("qweight"), ": expected a multiple of ", in_word,
                  " columns, whose zeros fill words, found ", N);
    const QuantisedMatrix matrix{.type = scheme.bits == 4 ? CodeType::kInt4 : CodeType::kInt8,
                                 .rows = N,
                                 .columns = K,
                                 .group = scheme.group == 0 ? K : std::min(scheme.group, K)};
    stored.scales("scales", {matrix.groups(), N});
    stored.get("qzeros", {torch::kInt32}, {matrix.groups(), N / in_word});
    if (stored.has("g_idx")) stored.get("g_idx", {torch::kInt32}, {K});
    return matrix;
  }

  QuantisedMatrix unpack(const std::string& module, const StoredModule& stored) const override {
    QuantisedMatrix matrix = form(module, stored);
    const bool is_int4 = matrix.type == CodeType::kInt4;
    const int64_t bits = is_int4 ? 4 : 8, middle = is_int4 ? 8 : 128;
    const int64_t N = matrix.rows, word_rows = matrix.columns * bits / kWordBits;
    // The four bytes of a word hold consecutive columns of W, as a row of codes does.
    const Tensor bytes = stored.tensors.at("qweight").contiguous().view(torch::kUInt8);
    const Tensor rows = bytes.view({word_rows, N, 4}).transpose(0, 1).reshape({N, -1});
    matrix.codes = is_int4 ? rows : torch::bitwise_xor(rows, middle).view(torch::kInt8);
    const Tensor zeros = zeros_of(stored.tensors.at("qzeros"), bits).sub_(middle).t().contiguous();
    if (torch::any(zeros).item<bool>()) matrix.zeros = zeros;
    matrix.scales = stored.tensors.at("scales").t().contiguous();
    if (stored.has("g_idx")) {
      matrix.group_of_column = read_group_of_column(stored.tensors.at("g_idx"), matrix.group,
                                                    matrix.groups(), stored.at("g_idx"));
    }
    return matrix;
  }

 private:
  /// int16 [groups, N]. In one subtraction from a word a zero of 0 borrows from the next one, which
  /// one addition gives back. From a zero by itself nothing is borrowed, and a stored 15 is 16.
  Tensor zeros_of(const Tensor& words, int64_t bits) const {
    if (!adds_to_words_) return unpack_words(words, bits).to(torch::kInt16).add_(adds_one_ ? 1 : 0);
    const int64_t ones = bits == 4 ? 0x11111111 : 0x01010101;
    const Tensor sums = words.to(torch::kInt64).add_(ones).to(torch::kInt32);
    return unpack_words(sums, bits).to(torch::kInt16);
  }

  void read_rules(const QuantisationKeys& keys) {
    for (const auto& [expression, unused] : keys.json().items()) {
      const bool is_exclusion = expression.starts_with("-:");
      const bool is_marked = is_exclusion || expression.starts_with("+:");
      const ModulePattern pattern(is_marked ? expression.substr(2) : expression,
                                  keys.at(expression));
      const Scheme scheme = is_exclusion ? scheme_ : read_scheme(keys.object(expression), &scheme_);
      rules_.push_back({pattern, expression, is_exclusion, scheme});
    }
  }

  Scheme scheme_of(const std::string& module, const StoredModule& stored) const {
    for (const Rule& rule : rules_) {
      if (!rule.pattern.matches(module)) continue;
      HYPENET_CHECK(!rule.is_exclusion, stored.at("qweight"), ": expected a plain weight, as ",
                    "quantization_config's dynamic \"", rule.expression, "\" says, found codes");
      return rule.scheme;
    }
    return scheme_;
  }

  Scheme scheme_;
  bool adds_one_ = true;
  bool adds_to_words_ = false;
  std::vector<Rule> rules_;
};

}  // namespace

std::unique_ptr<const QuantisedLayout> read_gptq_layout(const QuantisationKeys& keys) {
  return std::make_unique<GptqLayout>(keys);
}

}  // namespace hypenet
