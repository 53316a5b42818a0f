// Faults of JSON texts, by kind and place.
#include "base/json_text.h"

#include <algorithm>

namespace hypenet {
namespace {

/// The byte (from 1 on) of the first bracket that is nested too deeply; 0: none is.
size_t find_deep_bracket(std::string_view text, int64_t most_nested) {
  int64_t depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"':
        for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\' ? 1 : 0;
        break;
      case '[':
      case '{':
        if (++depth > most_nested) return i + 1;
        break;
      case ']':
      case '}':
        --depth;
        break;
      default:
        break;
    }
  }
  return 0;
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace

std::optional<JsonFault> find_json_fault(std::string_view text, int64_t most_nested) {
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    return JsonFault{"UTF-16 (JSON is UTF-8)", 1};
  }
  const size_t nul = text.find('\0');
  if (nul != text.npos) return JsonFault{"a NUL byte", nul + 1};
  const size_t deep = find_deep_bracket(text, most_nested);
  if (deep > 0) return JsonFault{concat("nesting over ", most_nested, " deep"), deep};
  return std::nullopt;
}

JsonFault json_fault(const nlohmann::json::exception& error) {
  const std::string_view text = error.what();
  const auto* parsing = dynamic_cast<const nlohmann::json::parse_error*>(&error);
  if (parsing == nullptr) return {"a number out of range", 0};
  if (has(text, "surrogate")) return {"a lone surrogate", parsing->byte};
  if (has(text, "ill-formed UTF-8")) return {"bytes that are no UTF-8", parsing->byte};
  return {"a syntax error", parsing->byte};
}

std::string describe_json_fault(const JsonFault& fault, std::string_view text,
                                std::string_view place) {
  std::string described = concat(place, ": expected JSON, found ", fault.kind);
  if (fault.byte == 0) return described;
  described += concat(" at byte ", fault.byte);
  const auto before = text.substr(0, fault.byte - 1);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  return line == 1 ? described : described + concat(" (line ", line, ")");
}

std::optional<Json> try_parse_json(std::string_view text) {
  Json value;
  if (parse_json_text(text, value)) return std::nullopt;
  return value;
}

}  // namespace hypenet
