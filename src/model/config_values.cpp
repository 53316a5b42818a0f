// The values of config.json that are neither numbers nor words: architectures and
// attn_logits_scaling.
#include <array>
#include <charconv>
#include <cmath>

#include "model/config.h"

namespace hypenet {
namespace {

constexpr double kDefaultLogBase = 362;

/// All digits that tell the number from its neighbours, without an exponent.
std::string plain_number(double value) {
  std::array<char, 400> digits;
  const auto end = std::to_chars(digits.begin(), digits.end(), value, std::chars_format::fixed).ptr;
  return {digits.begin(), end};
}

}  // namespace

std::string_view architecture_name(Architecture architecture) {
  switch (architecture) {
    case Architecture::kQwen3:
      return "Qwen3";
    case Architecture::kQwen2:
      return "Qwen2";
    case Architecture::kLlama:
      return "Llama";
    case Architecture::kHypeNet:
      return "HypeNet";
    case Architecture::kQwen3Next:
      return "Qwen3-Next";
    case Architecture::kQwen35:
      return "Qwen3.5";
    case Architecture::kGatedDeltaNet:
      return "Gated DeltaNet";
    case Architecture::kKda:
      return "KDA";
    case Architecture::kKimiLinear:
      return "Kimi Linear";
    case Architecture::kRadlads:
      return "RADLADS RWKV-7";
    case Architecture::kRwkv7:
      return "RWKV-7";
    case Architecture::kMamba2:
      return "Mamba-2";
    case Architecture::kLlamba:
      return "Llamba";
    case Architecture::kMambaInLlama:
      return "Mamba in the Llama";
    case Architecture::kJetNemotron:
      return "Jet-Nemotron";
  }
  throw Error("config: unknown architecture");
}

LogitsScaling parse_logits_scaling(const Json& json, const std::string& place) {
  using Kind = LogitsScaling::Kind;
  if (json.is_null()) return {};
  if (json.is_number()) return {Kind::kConstant, json.get<double>()};
  const std::string text = json.is_string() ? json.get<std::string>() : std::string();
  if (text == "hype") return {Kind::kLogPosition, kDefaultLogBase};
  double base = 0;
  const char* end = text.data() + text.size();
  if (text.starts_with("hype ")) {
    const auto [stop, error] = std::from_chars(text.data() + 5, end, base);
    if (stop != end || error != std::errc() || !std::isfinite(base)) base = 0;
  }
  HYPENET_CHECK(base > 1, place,
                ": expected null, a number, \"hype\" or \"hype <a>\" with a > 1, found ",
                json.dump());
  return {Kind::kLogPosition, base};
}

Json to_json(const LogitsScaling& scaling) {
  switch (scaling.kind) {
    case LogitsScaling::Kind::kNone:
      return nullptr;
    case LogitsScaling::Kind::kConstant:
      return scaling.value;
    case LogitsScaling::Kind::kLogPosition:
      return "hype " + plain_number(scaling.value);
  }
  throw Error("config: unknown logits scaling");
}

void read_value(const Json& json, const std::string& place, LogitsScaling& scaling) {
  scaling = parse_logits_scaling(json, place);
}

Json write_value(const LogitsScaling& scaling) { return to_json(scaling); }

}  // namespace hypenet
