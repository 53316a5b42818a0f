// Recognising a template by what it prints.
#include <algorithm>
#include <array>
#include <span>

#include "base/error.h"
#include "text/chat_template.h"
#include "text/template_text.h"

namespace hypenet {
namespace {

using Kind = TemplateStatement::Kind;

constexpr std::string_view kTurnBegins = "<|im_start|>", kTurnEnds = "<|im_end|>";
constexpr std::string_view kHeaderBegins = "<|start_header_id|>", kEndOfTurn = "<|eot_id|>",
                           kSystemHeader = "<|start_header_id|>system<|end_header_id|>\n\n";

// What templates of the families print and set, in the spelling of TemplateStatement. The parts for
// tools are among them; they never come into play here.
constexpr std::array kChatMlTurns = {
    R"("<|im_start|>"+message.role+"\n"+message.content+"<|im_end|>\n")",
    R"("<|im_start|>"+message.role+"\n"+content+"<|im_end|>\n")"};
constexpr std::array kOtherChatMlPrints = {
    R"("<|im_start|>system\n")",
    R"("<|im_start|>system\n"+messages[0].content+"<|im_end|>\n")",
    R"("<|im_start|>system\n"+messages[0].content+"\n\n")",
    R"("<|im_start|>"+message.role+"\n"+content)",
    R"("<|im_start|>"+message.role+"\n<think>\n"+reasoning_content.strip("\n")+"\n</think>\n\n"+content.lstrip("\n"))",
    R"("<|im_start|>"+message.role)",
    R"("<|im_start|>user")"};
constexpr std::array kChatMlContents = {R"(message.content)", R"("")", R"()",
                                        R"(message.content.split("</think>")[-1].lstrip("\n"))",
                                        R"(content.split("</think>")[-1].lstrip("\n"))"};
constexpr const char* kLlama3Turn =
    R"("<|start_header_id|>"+message.role+"<|end_header_id|>\n\n"+message.content|trim+"<|eot_id|>")";
constexpr const char* kLlama3System = R"(system_message+"<|eot_id|>")";
constexpr const char* kToday = R"(strftime_now("%d %b %Y"))";

template <class List>
bool is_one_of(std::string_view text, const List& list) {
  return std::ranges::find(list, text) != std::end(list);
}

/// One line of at most 200 bytes.
std::string line_of(std::string_view text) {
  std::string line;
  for (const char c : text.substr(0, 200)) line += c == '\n' ? ' ' : c;
  return line;
}

}  // namespace

class ChatTemplate::Reader {
 public:
  Reader(std::string_view text, std::string_view bos, const std::string& place)
      : statements_(read_template(text, place)), text_(text), place_(place) {
    if (text.find("bos_token") != std::string_view::npos) result_.bos_ = bos;
  }

  ChatTemplate read() {
    if (text_.find(kTurnBegins) != std::string_view::npos) {
      read_chatml();
    } else if (text_.find(kHeaderBegins) != std::string_view::npos) {
      read_llama3();
    } else {
      throw Error(concat(place_, ": expected a ChatML or Llama 3 template (", kTurnBegins, " or ",
                         kHeaderBegins, "), found neither"));
    }
    HYPENET_CHECK(!result_.generation_prompt_.empty(), place_,
                  ": expected an assistant's turn begun by add_generation_prompt, found none");
    return std::move(result_);
  }

 private:
  [[noreturn]] void fail(std::string_view family, std::string_view found) const {
    throw Error(concat(place_, ": expected a known ", family, " template, found ", line_of(found)));
  }

  void check_tokens(std::string_view family, std::span<const std::string_view> known) const {
    for (size_t at = 0; (at = text_.find("<|", at)) != std::string_view::npos; at += 2) {
      const size_t end = text_.find("|>", at);
      if (end == std::string_view::npos) return;
      const std::string_view token = text_.substr(at, end + 2 - at);
      if (!is_one_of(token, known)) fail(family, token);
    }
  }

  /// What is printed when the last control statement before it is this one, if all of it is text.
  std::optional<std::string> literal_after(std::string_view condition) const {
    for (size_t i = 0; i + 1 < statements_.size(); ++i) {
      const auto& parts = statements_[i + 1].parts;
      if (statements_[i].kind == Kind::kControl && statements_[i].head == condition &&
          statements_[i + 1].kind == Kind::kPrint && parts.size() == 1 && parts[0].is_literal) {
        return parts[0].text;
      }
    }
    return std::nullopt;
  }

  void read_generation_prompt(std::string_view begin) {
    const auto prompt = literal_after("if add_generation_prompt");
    if (prompt && prompt->starts_with(begin)) result_.generation_prompt_ = *prompt;
  }

  void read_chatml() {
    constexpr std::string_view kFamily = "ChatML";
    constexpr std::array<std::string_view, 3> kKnown = {kTurnBegins, kTurnEnds, "<|endoftext|>"};
    check_tokens(kFamily, kKnown);
    result_.family_ = Family::kChatMl;
    read_generation_prompt("<|im_start|>assistant\n");
    result_.empty_thought_ =
        literal_after("if enable_thinking is defined and enable_thinking is false");
    bool has_turn = false;
    for (const TemplateStatement& statement : statements_) {
      const std::string expression = statement.expression();
      if (statement.kind == Kind::kPrint) {
        has_turn = has_turn || is_one_of(expression, kChatMlTurns);
        read_chatml_print(statement, expression);
      } else if (statement.kind == Kind::kSet && statement.head == "content") {
        if (!is_one_of(expression, kChatMlContents)) fail(kFamily, "content = " + expression);
        if (expression.find("</think>") != std::string::npos) result_.drops_thoughts_ = true;
      } else if (statement.head.find("loop.index0>ns.last_query_index") != std::string::npos) {
        result_.keeps_last_thought_ = true;
      }
    }
    if (!has_turn) fail(kFamily, concat("none of the kind ", kChatMlTurns[0]));
  }

  void read_chatml_print(const TemplateStatement& statement, const std::string& expression) {
    std::string_view begin = expression;
    if (begin.starts_with("bos_token+")) begin.remove_prefix(10);
    if (begin.find(kTurnBegins) == std::string_view::npos || is_one_of(begin, kChatMlTurns) ||
        is_one_of(begin, kOtherChatMlPrints)) {
      return;
    }
    const std::string_view text = statement.parts.back().text;
    constexpr std::string_view kSystem = "<|im_start|>system\n", kEnd = "<|im_end|>\n";
    if (statement.parts.back().is_literal && text == result_.generation_prompt_) return;
    const bool is_default = statement.parts.back().is_literal && text.starts_with(kSystem) &&
                            text.ends_with(kEnd) && text.rfind(kTurnBegins) == 0;
    if (!is_default) fail("ChatML", begin);
    result_.default_system_ =
        text.substr(kSystem.size(), text.size() - kSystem.size() - kEnd.size());
  }

  void read_llama3() {
    constexpr std::string_view kFamily = "Llama 3";
    constexpr std::array<std::string_view, 6> kKnown = {kHeaderBegins, "<|end_header_id|>",
                                                        kEndOfTurn,    "<|python_tag|>",
                                                        "<|eom_id|>",  "<|begin_of_text|>"};
    check_tokens(kFamily, kKnown);
    result_.family_ = Family::kLlama3;
    if (text_.find("<|begin_of_text|>") != std::string_view::npos) {
      result_.bos_ = "<|begin_of_text|>";
    }
    read_generation_prompt("<|start_header_id|>assistant<|end_header_id|>\n\n");
    bool has_turn = false;
    for (const TemplateStatement& statement : statements_) {
      const std::string expression = statement.expression();
      has_turn = has_turn || expression == kLlama3Turn;
      has_system_ = has_system_ || expression == kLlama3System;
      if (statement.kind == Kind::kPrint) read_preamble(statement);
    }
    if (!has_turn) fail(kFamily, concat("none of the kind ", kLlama3Turn));
    const bool has_header = text_.find("system<|end_header_id|>") != std::string_view::npos;
    if (has_header && !(has_system_ && result_.preamble_)) {
      fail(kFamily, "a system turn that is not told from Llama 3.1's");
    }
    if (result_.preamble_) read_date();
  }

  /// "<before>"+date_string+"<after>", and perhaps what follows where no tools come in between.
  void read_preamble(const TemplateStatement& statement) {
    const auto& parts = statement.parts;
    const auto date = std::ranges::find(parts, std::string("date_string"), &TemplatePart::text);
    if (date == parts.end()) return;
    const bool has_texts = parts.size() >= 3 && date == parts.begin() + 1 && parts[0].is_literal &&
                           parts[2].is_literal;
    const TemplateStatement rest{
        Kind::kPrint, "", {parts.begin() + (has_texts ? 3 : 0), parts.end()}};
    const std::string expression = rest.expression();
    if (!has_texts || (!expression.empty() && expression != kLlama3System)) {
      fail("Llama 3", statement.expression());
    }
    has_system_ = has_system_ || expression == kLlama3System;
    std::string_view before = parts[0].text;
    if (before.starts_with(kSystemHeader)) before.remove_prefix(kSystemHeader.size());
    result_.preamble_ = Preamble{std::string(before), parts[2].text, ""};
  }

  /// Today's where the template asks for it and its host can tell, else the date it holds.
  void read_date() {
    for (const TemplateStatement& statement : statements_) {
      if (statement.kind != Kind::kSet || statement.head != "date_string") continue;
      if (statement.expression() == kToday) {
        result_.preamble_->date.clear();
        return;
      }
      const bool is_text = statement.parts.size() == 1 && statement.parts[0].is_literal;
      if (!is_text) fail("Llama 3", "date_string = " + statement.expression());
      result_.preamble_->date = statement.parts[0].text;
    }
  }

  std::vector<TemplateStatement> statements_;
  std::string_view text_;
  const std::string& place_;
  bool has_system_ = false;  // Llama 3.1: the system message is printed behind the preamble
  ChatTemplate result_;
};

ChatTemplate ChatTemplate::parse(std::string_view text, std::string_view bos,
                                 const std::string& place) {
  return Reader(text, bos, place).read();
}

}  // namespace hypenet
