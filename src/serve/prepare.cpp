// What is costly before the engine: templates, tokenizing, grammars.
#include "serve/prepare.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "serve/api/anthropic_form.h"
#include "serve/api/completion_form.h"
#include "serve/told_tools.h"

namespace hypenet {
namespace {

/// What a request of any form has in common.
PreparedAnswer begin_answer(const ServedFolder& served, const ServedModel& model,
                            const GenerationSettings& settings, AnswerForm form, Random& random) {
  PreparedAnswer answer{.form = form,
                        .streams = settings.streams,
                        .timeout = settings.timeout,
                        .reuse = settings.reuse,
                        .salt = settings.cache_salt,
                        .ignored = settings.ignored.names};
  answer.head = {.id = answer_id(form, random),
                 .created = std::time(nullptr),
                 .model = model.name,
                 .fingerprint = served.fingerprint,
                 .seed = settings.seed.value_or(static_cast<int64_t>(random.next() >> 11)),
                 .top_logprobs = settings.top_logprobs,
                 .includes_usage = settings.includes_usage,
                 .includes_progress = settings.includes_progress};
  return answer;
}

ApiError as_api_error(const ConstraintError& error, const char* param) {
  if (error.code() == ConstraintError::Code::kInvalidSchema) {
    return {"invalid_schema", error.what(), param};
  }
  return {"unsupported_parameter", error.what(), param};
}

std::vector<ToolGrammar> tool_grammars(const ChatRequest& chat) {
  std::vector<ToolGrammar> grammars;
  for (const Json& tool : chat.tools) {
    const Json& function = tool.at("function");
    const auto name = function.at("name").get<std::string>();
    const bool is_wanted =
        chat.tool_choice.kind != ToolChoice::Kind::kNamed || chat.tool_choice.name == name;
    if (!is_wanted) continue;
    grammars.push_back({.name = name,
                        .parameters = function.value("parameters", Json(Json::object())),
                        .strict = function.value("strict", false)});
  }
  return grammars;
}

bool uses_tools(const ChatRequest& chat) {
  return chat.tools.is_array() && !chat.tools.empty() &&
         chat.tool_choice.kind != ToolChoice::Kind::kNone;
}

ToolCallForm call_form(ToolFormat format) {
  if (format == ToolFormat::kQwen3Coder) return ToolCallForm::qwen3_coder();
  return format == ToolFormat::kHermes ? ToolCallForm::hermes() : ToolCallForm::llama3_json();
}

/// Calls that a model makes of itself are held to their schemas where that is built in; calls that
/// must be made need it.
GrammarPtr tools_grammar(const ServedFolder& served, const ChatRequest& chat,
                         std::vector<std::string>& ignored) {
  const bool must_call = chat.tool_choice.kind != ToolChoice::Kind::kAuto;
  const auto grammars = tool_grammars(chat);
  const bool is_strict =
      std::ranges::any_of(grammars, [](const ToolGrammar& tool) { return tool.strict; });
  if (!GrammarCompiler::is_built_in() && !must_call && !is_strict) return nullptr;
  // Llama 3's call is a whole answer: what begins as text is no call.
  if (!must_call && served.tool_format == ToolFormat::kLlama3Json) return nullptr;
  const ToolCallRule rule{.required = must_call, .repeats = chat.parallel_tool_calls};
  try {
    return served.grammars->compile_tool_calls(grammars, call_form(served.tool_format), rule,
                                               ignored);
  } catch (const ConstraintError& error) {
    throw as_api_error(error, "tools");
  }
}

GrammarPtr format_grammar(const ServedFolder& served, const ResponseFormat& format,
                          std::vector<std::string>& ignored) {
  try {
    if (format.kind == ResponseFormat::Kind::kJsonObject) {
      return served.grammars->compile_json_object();
    }
    if (format.kind == ResponseFormat::Kind::kJsonSchema) {
      return served.grammars->compile_schema(format.schema, format.is_strict, ignored);
    }
  } catch (const ConstraintError& error) {
    throw as_api_error(error, "response_format");
  }
  return nullptr;
}

/// A mask for each choice of a request, as each has its own place in the grammar.
using MakeMask = std::function<std::shared_ptr<TokenMask>(const std::vector<int32_t>& stop_ids)>;

MakeMask mask_maker(const ServedFolder& served, GrammarPtr grammar,
                    MaskOptions::Reasoning reasoning) {
  if (!grammar) return {};
  return [&served, grammar = std::move(grammar), reasoning](const std::vector<int32_t>& stop_ids) {
    return std::shared_ptr<TokenMask>(
        served.grammars->mask(grammar, {.stop_ids = stop_ids, .reasoning = reasoning}));
  };
}

/// The choices of the last prompt.
void add_choices(const ServedFolder& served, PreparedAnswer& answer, const ServedModel& model,
                 const GenerationSettings& settings, std::span<const int32_t> end_ids,
                 const AnswerSetting& setting, const std::vector<PromptMark>& marks,
                 const MakeMask& mask) {
  const auto& ids = answer.prompts.back().ids;
  const auto tokens = static_cast<int64_t>(ids.size());
  answer.head.prompt_tokens += tokens;
  const auto cuts = prefill_cuts(tokens, marks, served.grid);
  if (settings.reuse != ReuseMode::kOff && !cuts.empty())
    answer.prompts.back().last_cut = cuts.back();
  for (int64_t j = 0; j < settings.choices; ++j) {
    PreparedChoice choice{.prompt = answer.prompts.size() - 1, .setting = setting};
    if (settings.max_tokens != 0) {
      Request& request = choice.request.emplace();
      request.prompt = ids;
      request.options = generate_options(settings, model, tokens, end_ids, answer.head.seed, j);
      if (mask) request.options.mask = mask(request.options.stop_ids);
      request.marks = marks;
      request.reuse = settings.reuse;
      request.salt = settings.cache_salt;
      request.tells_progress = true;
    } else {
      check_context(tokens, model);
    }
    answer.choices.push_back(std::move(choice));
  }
  answer.head.choices = static_cast<int64_t>(answer.choices.size());
}

/// The conversation with what its template cannot print as text; none where it prints all. Throws
/// ApiError tools_unsupported where no form is known for that.
std::optional<ChatRequest> as_template_reads(const ServedFolder& served, const ChatRequest& chat) {
  constexpr const char* kRemedy = "; --tool-format hermes writes them into the messages";
  const bool is_none = served.chat->family_name() == "none";
  const char* found = is_none ? "found none (template none)" : "found one that does not";
  const bool has_tools = uses_tools(chat);
  if (has_tools && !served.puts_tools_in_system && !served.chat->reads_tools()) {
    throw ApiError("tools_unsupported",
                   concat("tools: expected a chat template that reads them, ", found, kRemedy),
                   "tools");
  }
  std::optional<ChatRequest> told;
  if (has_calls(chat) && !served.chat->reads_calls()) {
    if (served.tool_format == ToolFormat::kNone) {
      throw ApiError("tools_unsupported",
                     concat("messages: expected a chat template that reads calls of tools and "
                            "their results, ",
                            found, kRemedy),
                     "messages");
    }
    told = with_calls_as_text(chat, served.tool_format, *served.chat);
  }
  if (has_tools && served.puts_tools_in_system) told = with_tools_in_system(told ? *told : chat);
  return told;
}

/// A text that is too long whatever its tokens are is not tokenized to find that out.
void check_size(const ServedFolder& served, const ServedModel& model, const std::string& text,
                const char* param) {
  const auto bytes = static_cast<int64_t>(text.size());
  if (served.longest_token == 0 || bytes / served.longest_token <= model.context_length) return;
  throw ApiError("context_length_exceeded",
                 concat(param, ": expected below ", model.context_length,
                        " tokens, found at least ", bytes / served.longest_token),
                 param);
}

}  // namespace

std::vector<PromptMark> marks_of(const EncodedPrompt& prompt) {
  std::vector<PromptMark> marks;
  for (const auto& [position, kind] : prompt.borders) {
    const auto mark = kind == PromptBorder::Kind::kTurn        ? PromptMark::Kind::kTurn
                      : kind == PromptBorder::Kind::kSystemEnd ? PromptMark::Kind::kSystemEnd
                                                               : PromptMark::Kind::kClient;
    marks.push_back({position, mark});
  }
  return marks;
}

EncodedPrompt encode_prompt(const ServedFolder& served, const ChatRequest& chat,
                            std::function<void(const std::string&)> on_text) {
  if (!served.chat) {
    throw ApiError("unsupported_parameter",
                   "messages: expected a model with a chat template, found one without; "
                   "/v1/completions goes on with a text",
                   "messages");
  }
  // Nobody may find out by the time it takes what others sent under a salt.
  const bool has_salt = !chat.settings.cache_salt.empty();
  PromptOptions options{.specials_in_messages = served.specials_in_messages,
                        .known = has_salt ? nullptr : served.known_text.get(),
                        .on_text = std::move(on_text)};
  try {
    const auto told = as_template_reads(served, chat);
    const ChatRequest& shown = told ? *told : chat;
    for (const CacheMark& mark : shown.marks) options.marks.push_back({mark.message, mark.end});
    return encode_chat(served.tokenizer, *served.chat, shown.messages, chat_options(chat), options);
  } catch (const ApiError&) {
    throw;
  } catch (const Error& error) {
    throw ApiError("template_error", error.what(), "messages");
  }
}

PreparedAnswer prepare_chat(const ServedFolder& served, const ServedModel& model,
                            const ChatRequest& chat, AnswerForm form, Random& random) {
  PreparedAnswer answer = begin_answer(served, model, chat.settings, form, random);
  answer.left_out_blocks = chat.left_out_blocks;
  EncodedPrompt prompt = encode_prompt(
      served, chat, [&](const std::string& text) { check_size(served, model, text, "messages"); });
  const bool has_tools = uses_tools(chat);
  GrammarPtr grammar = format_grammar(served, chat.settings.response_format, answer.ignored);
  const bool calls_are_valid = has_tools && !grammar;
  if (calls_are_valid && served.tool_format != ToolFormat::kNone) {
    grammar = tools_grammar(served, chat, answer.ignored);
  }
  const AnswerSetting setting{
      .opens_in_reasoning = prompt.opens_reasoning,
      .has_reasoning = served.has_reasoning && !chat.continues_final_message,
      .tools = has_tools ? served.tool_format : ToolFormat::kNone,
      .valid_calls = calls_are_valid && grammar != nullptr,
      .tool_list = has_tools ? std::make_shared<const Json>(chat.tools) : nullptr,
      .stops = chat.settings.stops};
  const auto reasoning = setting.opens_in_reasoning ? MaskOptions::Reasoning::kIsOpen
                         : setting.has_reasoning    ? MaskOptions::Reasoning::kMayOpen
                                                    : MaskOptions::Reasoning::kNone;
  const auto marks = marks_of(prompt);
  answer.prompts.push_back({.ids = std::move(prompt.ids)});
  add_choices(served, answer, model, chat.settings, served.chat_stop_ids, setting, marks,
              mask_maker(served, std::move(grammar), reasoning));
  return answer;
}

PreparedAnswer prepare_completion(const ServedFolder& served, const ServedModel& model,
                                  std::string_view body, Random& random) {
  const CompletionRequest asked = parse_completion_request(parse_body(body), model);
  PreparedAnswer answer =
      begin_answer(served, model, asked.settings, AnswerForm::kCompletion, random);
  answer.echoes = asked.echoes;
  const MakeMask mask =
      mask_maker(served, format_grammar(served, asked.settings.response_format, answer.ignored),
                 MaskOptions::Reasoning::kNone);
  const AnswerSetting setting{.stops = asked.settings.stops};
  for (const CompletionPrompt& prompt : asked.prompts) {
    const auto* text = std::get_if<std::string>(&prompt);
    if (text != nullptr) check_size(served, model, *text, "prompt");
    PreparedPrompt& entry = answer.prompts.emplace_back();
    entry.ids =
        text != nullptr ? served.tokenizer.encode(*text) : std::get<std::vector<int32_t>>(prompt);
    entry.is_scored = asked.echoes && asked.settings.top_logprobs >= 0 && entry.ids.size() > 1;
    add_choices(served, answer, model, asked.settings, served.stop_ids, setting, {}, mask);
  }
  return answer;
}

}  // namespace hypenet
