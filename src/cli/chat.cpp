// hypenet chat: a conversation, turn by turn. History is kept as text; of what a turn reads, the
// engine goes on from what it read before.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/answer.h"
#include "cli/chat_sessions.h"
#include "cli/commands.h"
#include "cli/generation_options.h"
#include "cli/interrupt.h"
#include "cli/length_warning.h"
#include "cli/line_editor.h"
#include "cli/line_reader.h"
#include "cli/model_folder.h"
#include "cli/numbers.h"
#include "cli/suggestion.h"
#include "engine/engine.h"
#include "engine/generation_config.h"
#include "model/length_note.h"
#include "serve/prepare.h"
#include "text/chat_prompt.h"

namespace hypenet {
namespace {

constexpr const char* kHelp = R"(:stats       speed and memory of the last answer
:reset       forget the conversation
:save NAME   keep the conversation on disk, with what was computed of it
:load NAME   go on with it; it is not read again
:quit        leave (so does the end of the input, and Ctrl-C twice)
Ctrl-C stops an answer.
Alt-Enter, or \ before Enter, begins a further line of the message; a pasted text is one message.
Up and Down go through what was said before, Ctrl-R searches it; it is written nowhere.
)";

constexpr const char* kCommands[] = {":help", ":stats", ":reset", ":save", ":load", ":quit", ":q"};

struct ChatCommand {
  ModelOptions model{.folder = {}, .type = kAutomaticType, .device = {}};
  std::optional<std::string> system;
  std::string template_name;
  std::filesystem::path session_folder;  // empty: the default one
  int64_t tokens = 1024;
  bool no_thinking = false;
  bool specials_in_messages = false;
  SamplingFlags sampling;
  MemoryFlags memory;
};

ChatTemplate open_template(const ChatCommand& command) {
  if (!command.template_name.empty()) return ChatTemplate::named(command.template_name);
  try {
    return ChatTemplate::load(command.model.folder);
  } catch (const Error& error) {
    throw Error(concat(error.what(),
                       "; --template none (a model taught on text alone), "
                       "chatml or llama3 chooses one"));
  }
}

/// What a conversation keeps: its template, and the system message if there is one.
struct Setting {
  ChatTemplate chat;
  ChatOptions options;
  PromptOptions prompt;
  std::optional<std::string> system;

  std::vector<ChatMessage> beginning() const {
    if (!system) return {};
    return {{"system", *system}};
  }

  std::string render(const std::vector<ChatMessage>& history) const {
    return chat.render(history, options);
  }

  EncodedPrompt encode(const Tokenizer& tokenizer, const std::vector<ChatMessage>& history) const {
    return encode_chat(tokenizer, chat, to_json(history), options, prompt);
  }
};

std::string example_of(const Setting& setting) {
  auto messages = setting.beginning();
  messages.push_back({"user", "Hello"});
  return setting.render(messages);
}

/// Throws Error for a flag that changes nothing in what the model reads.
Setting chat_setting(const ChatCommand& command) {
  Setting setting{open_template(command), {}, {}, {}};
  const std::string plain = example_of(setting);
  const std::string whose = command.template_name.empty()
                                ? concat("the chat template of ", command.model.folder.string())
                                : concat("--template ", command.template_name);
  if (command.no_thinking) setting.options.enable_thinking = false;
  HYPENET_CHECK(!command.no_thinking || example_of(setting) != plain,
                "--no-thinking: has no effect with ", whose,
                ", which asks for no thoughts; Qwen3's own does");
  const std::string unspoken = example_of(setting);
  setting.system = command.system;
  const bool has_roles = setting.chat.family_name() != "none";
  HYPENET_CHECK(!command.specials_in_messages || has_roles,
                "--template-specials-in-messages: has no effect with ", whose,
                ", which always takes what is written for special tokens");
  // Without roles all of the text is the user's, as with generate.
  setting.prompt.specials_in_messages = command.specials_in_messages || !has_roles;
  HYPENET_CHECK(!command.system || (has_roles && example_of(setting) != unspoken),
                "--system: has no effect with ", whose,
                ", which has no place for it; --template chatml or llama3 has one");
  return setting;
}

/// What was said, and how fast the last answer came.
class Conversation {
 public:
  Conversation(Engine& engine, ChatSessions& sessions, const MemoryFlags& memory,
               const Tokenizer& tokenizer, Setting setting, GenerateOptions options)
      : engine_(engine),
        sessions_(sessions),
        memory_(memory),
        tokenizer_(tokenizer),
        setting_(std::move(setting)),
        options_(std::move(options)) {
    reset();
  }

  void reset() {
    history_ = setting_.beginning();
    read_ = {};
  }

  /// Both print one line; what fails is said, and then they are false.
  bool save(const std::string& name) {
    return attempt([&] {
      HYPENET_CHECK(!read_.tokens.empty(), "session ", name,
                    ": expected a conversation that was read, found none");
      const int64_t tokens = sessions_.save(name, read_, history_);
      std::cout << fmt::format("session {}: {} tokens saved", name, with_commas(tokens))
                << std::endl;
    });
  }

  bool load(const std::string& name) {
    return attempt([&] {
      auto loaded = sessions_.load(name);
      history_ = std::move(loaded.messages);
      read_ = {.tokens = std::move(loaded.tokens)};
      last_.reset();
      std::cout << fmt::format("session {}: {} messages, {} of {} tokens taken over", name,
                               history_.size(), with_commas(loaded.taken_over),
                               with_commas(std::ssize(read_.tokens)))
                << std::endl;
    });
  }

  /// Prints the answer as it comes. What does not fit is said, and forgotten; then it is false.
  bool ask(const std::string& text, const std::atomic<bool>& stop) {
    history_.push_back({"user", text});
    GenerateOptions options = options_;
    std::optional<StreamedAnswer> answer;
    try {
      const EncodedPrompt prompt = setting_.encode(tokenizer_, history_);
      prompt_tokens_ = std::ssize(prompt.ids);
      options.max_tokens = answer_tokens(engine_, memory_, prompt_tokens_, options_.max_tokens);
      answer.emplace(engine_, tokenizer_, Request{prompt.ids, options, marks_of(prompt)});
      read_ = {.tokens = prompt.ids};
    } catch (const Error& error) {
      history_.pop_back();
      const bool has_past = !history_.empty() && history_.back().role == "assistant";
      std::cerr << "hypenet: " << error.what()
                << (has_past ? "; :reset forgets the conversation" : "") << std::endl;
      return false;
    }
    last_ = answer->run(stop);
    read_.tokens.insert(read_.tokens.end(), last_->ids.begin(), last_->ids.end());
    if (last_->finish == FinishReason::kStop) read_.ends = options.stop_ids;
    std::cout << std::endl;
    warn_once();
    if (last_->finish == FinishReason::kLength && options.max_tokens < options_.max_tokens) {
      std::cerr << "hypenet: the answer ends before --tokens, at the end of "
                << what_ends_context(engine_, memory_) << "; :reset forgets the conversation"
                << std::endl;
    }
    history_.push_back({"assistant", last_->text});
    ++options_.sampling.seed;  // the same question may have another answer
    return true;
  }

  void print_stats() const {
    const EngineStats stats = engine_.stats();
    if (!last_) {
      std::cerr << "no answer yet; states " << readable_bytes(stats.state_bytes) << std::endl;
      return;
    }
    const auto rate = [](int64_t tokens, double seconds) {
      return seconds > 0 ? fmt::format("{:.1f}", static_cast<double>(tokens) / seconds) : "-";
    };
    const int64_t held = prompt_tokens_ + last_->tokens;
    const int64_t cache = held * stats.page_bytes / EngineOptions().page_tokens;
    // The first token comes with the prompt.
    const int64_t decoded = std::max<int64_t>(last_->tokens - 1, 0);
    const std::string reused =
        last_->reused > 0 ? fmt::format(" ({} taken over)", with_commas(last_->reused)) : "";
    std::cerr << fmt::format("prompt: {} tokens{} in {:.2f} s, {} tokens/s\n",
                             with_commas(prompt_tokens_), reused, last_->prefill_seconds,
                             rate(prompt_tokens_ - last_->reused, last_->prefill_seconds))
              << fmt::format("answer: {} tokens in {:.2f} s, {} tokens/s ({})\n",
                             with_commas(last_->tokens), last_->decode_seconds,
                             rate(decoded, last_->decode_seconds), to_string(last_->finish))
              << fmt::format("memory: KV {} for {} tokens, states {}\n", readable_bytes(cache),
                             with_commas(held), readable_bytes(stats.state_bytes))
              << std::flush;
  }

 private:
  static bool attempt(const std::function<void()>& work) {
    try {
      work();
      return true;
    } catch (const Error& error) {
      std::cerr << "hypenet: " << error.what() << std::endl;
      return false;
    }
  }

  /// Of more tokens than the model was made for: the first time that a conversation has them.
  void warn_once() {
    const int64_t held = prompt_tokens_ + last_->tokens;
    const bool is_long = length_note("", held, engine_.config()).has_value();
    if (is_long && !was_long_) warn_of_length("conversation", held, engine_.config());
    was_long_ = is_long;
  }

  Engine& engine_;
  ChatSessions& sessions_;
  MemoryFlags memory_;
  const Tokenizer& tokenizer_;
  Setting setting_;
  GenerateOptions options_;
  std::vector<ChatMessage> history_;
  ChatSessions::Read read_;  // what the engine may have of it
  std::optional<Answer> last_;
  int64_t prompt_tokens_ = 0;
  bool was_long_ = false;
};

enum class Obeyed { kDone, kFailed, kLeaves };

/// What follows a command's name; nullopt: another command.
std::optional<std::string> argument_of(const std::string& line, std::string_view command) {
  if (!line.starts_with(command)) return std::nullopt;
  const std::string rest = line.substr(command.size());
  if (!rest.empty() && rest.front() != ' ') return std::nullopt;
  const size_t begin = rest.find_first_not_of(' '), end = rest.find_last_not_of(' ');
  return begin == std::string::npos ? "" : rest.substr(begin, end + 1 - begin);
}

Obeyed obey(const std::string& line, Conversation& conversation) {
  if (line == ":quit" || line == ":q") return Obeyed::kLeaves;
  if (line == ":help") {
    std::cout << kHelp << std::flush;
  } else if (line == ":stats") {
    conversation.print_stats();
  } else if (line == ":reset") {
    conversation.reset();
  } else if (const auto saved = argument_of(line, ":save")) {
    return conversation.save(*saved) ? Obeyed::kDone : Obeyed::kFailed;
  } else if (const auto loaded = argument_of(line, ":load")) {
    return conversation.load(*loaded) ? Obeyed::kDone : Obeyed::kFailed;
  } else {
    std::cerr << "hypenet: unknown command " << line
              << did_you_mean(line, {std::begin(kCommands), std::end(kCommands)})
              << ":help lists them" << std::endl;
    return Obeyed::kFailed;
  }
  return Obeyed::kDone;
}

/// Lines that begin with a colon are for the program; a longer message is for the model.
bool is_command(const std::string& text) {
  return text.starts_with(':') && text.find('\n') == std::string::npos;
}

/// Returns the number of messages and commands that came to nothing.
int64_t converse(Conversation& conversation, LineSource& lines, const InterruptWatch& watch,
                 bool is_terminal) {
  bool was_interrupted = false;
  int64_t failures = 0;
  std::string text;
  while (std::cout.good()) {
    const LineStatus status = lines.read(text);
    if (status == LineStatus::kEnd) break;
    if (status == LineStatus::kInterrupted) {
      take_interrupt();
      if (was_interrupted) break;
      was_interrupted = true;
      if (is_terminal) std::cout << "\n(Ctrl-C again, or :quit, leaves)" << std::endl;
      continue;
    }
    was_interrupted = false;
    if (text.empty()) continue;
    if (is_command(text)) {
      const Obeyed obeyed = obey(text, conversation);
      if (obeyed == Obeyed::kLeaves) return failures;
      failures += obeyed == Obeyed::kFailed ? 1 : 0;
    } else {
      failures += conversation.ask(text, watch.flag) ? 0 : 1;
      take_interrupt();  // it has ended the answer, and is no first one here
    }
  }
  if (is_terminal) std::cout << std::endl;
  return failures;
}

/// A person at a terminal edits; a pipe, and a terminal that cannot move its cursor, give lines.
std::unique_ptr<LineSource> open_lines(bool is_terminal, const InterruptWatch& watch) {
  const char* const kind = std::getenv("TERM");
  const bool can_edit = kind != nullptr && std::string_view(kind) != "dumb";
  if (is_terminal && can_edit && ::isatty(STDOUT_FILENO) == 1) {
    return std::make_unique<LineEditor>(watch.descriptor);
  }
  return std::make_unique<LineReader>(STDIN_FILENO, watch.descriptor, is_terminal ? "> " : "");
}

void chat(const ChatCommand& command) {
  HYPENET_CHECK(command.tokens > 0, "--tokens: expected at least 1, found ", command.tokens);
  GenerateOptions options;
  options.max_tokens = command.tokens;
  const Checkpoint checkpoint(command.model.folder);
  const SamplingOptions defaults{.temperature = 0.7, .top_p = 0.95};
  options.sampling =
      sampling_options(command.sampling, read_generation_config(command.model.folder, defaults));
  EngineOptions memory = engine_options(command.memory, 1);
  // A conversation goes on from where its last answer ended, as if it had never stopped.
  memory.cache_bytes = -1, memory.reuse = ReuseMode::kNearest;
  Setting setting = chat_setting(command);
  Engine engine(open_model(command.model, checkpoint), memory);
  const Tokenizer tokenizer = open_tokenizer(command.model.folder, engine.config());
  options.stop_ids = chat_stop_ids(checkpoint, tokenizer, setting.chat);
  const bool is_terminal = ::isatty(STDIN_FILENO) == 1;
  if (is_terminal) {
    std::cout << command.model.folder.string() << "; :help lists commands, Ctrl-C stops an answer"
              << std::endl;
  }
  ChatSessions sessions(
      engine, checkpoint, tokenizer,
      command.session_folder.empty() ? default_session_folder() : command.session_folder);
  Conversation conversation(engine, sessions, command.memory, tokenizer, std::move(setting),
                            std::move(options));
  const InterruptWatch watch = watch_interrupts();
  const auto lines = open_lines(is_terminal, watch);
  const int64_t failures = converse(conversation, *lines, watch, is_terminal);
  // Each was told where it came; a script sees the exit code.
  if (failures > 0 && !is_terminal) throw CLI::RuntimeError(1);
}

}  // namespace

void add_chat_command(CLI::App& app) {
  const auto options = std::make_shared<ChatCommand>();
  CLI::App* command = app.add_subcommand("chat", "talk with a model, several turns");
  add_model_options(*command, options->model);
  command->add_option("--system", options->system, "the system message");
  command
      ->add_option("--template", options->template_name,
                   "none (plain continuation), chatml or llama3, instead of the folder's own")
      ->check(CLI::IsMember({"none", "chatml", "llama3"}));
  command->add_option("--session-dir", options->session_folder,
                      "where :save and :load keep conversations; a server's folder will do");
  command->add_option("--tokens", options->tokens, "tokens of an answer at most")
      ->capture_default_str();
  command->add_flag("--no-thinking", options->no_thinking,
                    "Qwen3: answer without a thought before it");
  command->add_flag("--template-specials-in-messages", options->specials_in_messages,
                    "take <|im_end|> and the like in a message for the token, as transformers do");
  add_sampling_options(*command, options->sampling);
  add_memory_options(*command, options->memory);
  command->footer(
      "Sampling is that of generation_config.json where the folder has one.\n"
      "Example:\n  hypenet chat Qwen3-1.7B --system \"Be brief.\"\n"
      "  hypenet chat out/tiny/model --template none --tokens 60");
  command->callback([options] { chat(*options); });
}

}  // namespace hypenet
