// PCRE2 reads what the expressions of published folders are made of as Python does.
#include "lowbit/module_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <utility>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr uint32_t kMostRetries = 10'000, kMostKilobytes = 1'024;

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

PCRE2_SPTR units_of(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

struct ModulePattern::Code {
  Code(const std::string& expression, std::string place_of_it) : place(std::move(place_of_it)) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    compiled = pcre2_compile(units_of(expression), expression.size(), PCRE2_ANCHORED, &error,
                             &offset, nullptr);
    HYPENET_CHECK(compiled, place, ": expected a regular expression, found ", expression, " (",
                  message_of(error), ")");
    data = pcre2_match_data_create(1, nullptr);
    context = pcre2_match_context_create(nullptr);
    pcre2_set_match_limit(context, kMostRetries);
    pcre2_set_heap_limit(context, kMostKilobytes);
  }
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    pcre2_code_free(compiled);
  }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  std::string place;
  pcre2_code* compiled = nullptr;
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
};

ModulePattern::ModulePattern(const std::string& expression, std::string place)
    : code_(std::make_shared<const Code>(expression, std::move(place))) {}

bool ModulePattern::matches(std::string_view name) const {
  const int result =
      pcre2_match(code_->compiled, units_of(name), name.size(), 0, 0, code_->data, code_->context);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  HYPENET_CHECK(result >= 0, code_->place, ": expected an expression that matches ", name,
                " or not, found an error: ", message_of(result));
  return true;
}

}  // namespace hypenet
