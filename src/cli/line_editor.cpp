// libedit in wide characters. It reads keys through a function of ours, so that Ctrl-C, which a
// thread of its own receives, ends the waiting, and so that a paste arrives as one piece.
#include "cli/line_editor.h"

#include <histedit.h>
#include <langinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <clocale>
#include <cstdio>
#include <cwchar>
#include <initializer_list>
#include <string_view>

#include "base/error.h"
#include "cli/terminal_changes.h"

namespace hypenet {
namespace {

constexpr const char* kPasteOn = "\x1b[?2004h";  // the terminal puts marks around what is pasted
constexpr const char* kPasteOff = "\x1b[?2004l";
constexpr std::wstring_view kPasteEnd = L"\x1b[201~";

/// libedit draws in the locale's encoding; conversations are UTF-8 whatever the locale.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(::nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");
}

std::string utf8(std::wstring_view text) {
  std::string bytes;
  std::array<char, MB_LEN_MAX> character;
  for (const wchar_t c : text) {
    std::mbstate_t state{};
    const size_t count = std::wcrtomb(character.data(), c, &state);
    if (count != static_cast<size_t>(-1)) bytes.append(character.data(), count);
  }
  return bytes;
}

/// What a terminal sends beside text would be drawn as ^X.
bool is_text(wchar_t c) { return c == L'\n' || c == L'\t' || (c >= 0x20 && c != 0x7f); }

}  // namespace

struct LineEditor::Terminal {
  explicit Terminal(int given) : interrupts(given) {
    use_utf8();
    edit = ::el_init("hypenet", stdin, stdout, stderr);
    HYPENET_CHECK(edit != nullptr, "standard input: expected a terminal that can be edited on");
    history = ::history_winit();
    ::history_w(history, &event, H_SETSIZE, 1000);
    ::history_w(history, &event, H_SETUNIQUE, 1);
    ::el_wset(edit, EL_CLIENTDATA, this);
    ::el_wset(edit, EL_EDITOR, L"emacs");
    ::el_wset(edit, EL_HIST, ::history_w, history);
    ::el_wset(edit, EL_PROMPT, prompt_of);
    ::el_wset(edit, EL_GETCFN, next_character);
    ::el_source(edit, nullptr);
    // libedit miscounts columns where it moves wide characters aside; without these it draws anew.
    for (const wchar_t* moving : {L"ic", L"im", L"IC", L"dc", L"DC"}) {
      ::el_wset(edit, EL_SETTC, moving, L"", nullptr);
    }
    bind(L"hypenet-paste", L"insert what is pasted", insert_paste, {L"\\e[200~"});
    bind(L"hypenet-line", L"begin a further line", insert_line_end, {L"\\e\\r", L"\\e\\n"});
  }

  ~Terminal() {
    ::el_end(edit);
    ::history_wend(history);
  }

  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  using Function = unsigned char (*)(EditLine*, wint_t);
  void bind(const wchar_t* name, const wchar_t* help, Function function,
            std::initializer_list<const wchar_t*> keys) {
    ::el_wset(edit, EL_ADDFN, name, help, function);
    for (const wchar_t* key : keys) ::el_wset(edit, EL_BIND, key, name, nullptr);
  }

  static Terminal& of(EditLine* edit) {
    void* terminal = nullptr;
    ::el_wget(edit, EL_CLIENTDATA, &terminal);
    return *static_cast<Terminal*>(terminal);
  }

  static const wchar_t* prompt_of(EditLine* edit) { return of(edit).prompt; }

  /// 1 and a character, 0 at the end, or -1 when Ctrl-C came.
  static int next_character(EditLine* edit, wchar_t* character) {
    return of(edit).next(*character);
  }

  static unsigned char insert_paste(EditLine* edit, wint_t /*key*/) {
    std::wstring text;
    wchar_t c = 0;
    for (int count = 0; !text.ends_with(kPasteEnd); text += c) {
      count = of(edit).next(c);
      if (count <= 0) return CC_ERROR;
    }
    text.resize(text.size() - kPasteEnd.size());
    // libedit's terminal modes exchange the two line ends.
    std::replace(text.begin(), text.end(), L'\r', L'\n');
    std::erase_if(text, [](wchar_t each) { return !is_text(each); });
    return text.empty() || ::el_winsertstr(edit, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  static unsigned char insert_line_end(EditLine* edit, wint_t /*key*/) {
    return ::el_winsertstr(edit, L"\n") == 0 ? CC_REFRESH : CC_ERROR;
  }

  int next(wchar_t& character) {
    std::mbstate_t state{};
    for (;;) {
      if (used == bytes.size() && !fill()) return was_interrupted ? -1 : 0;
      const size_t count = std::mbrtowc(&character, &bytes[used++], 1, &state);
      if (count == static_cast<size_t>(-2)) continue;  // more bytes of it are to come
      if (count == static_cast<size_t>(-1)) character = L'\xFFFD';
      return 1;
    }
  }

  /// False at the end of the input, or when Ctrl-C came.
  bool fill() {
    constexpr size_t kInterrupt = 0, kChange = 1;
    size_t woken = kChange;
    while ((woken = wait_for_input({interrupts, changes, STDIN_FILENO})) == kChange) redraw();
    was_interrupted = woken == kInterrupt;
    bytes = was_interrupted ? "" : read_ready(STDIN_FILENO);
    used = 0;
    return !bytes.empty();
  }

  /// The window has another size, or a shell that had the terminal meanwhile gave it back.
  void redraw() {
    read_ready(changes);
    ::el_wset(edit, EL_PREP_TERM, 0);  // libedit still thinks that the terminal is as it left it
    ::el_wset(edit, EL_PREP_TERM, 1);
    std::fputs("\r\x1b[J", stdout);
    ::el_resize(edit);
    ::el_wset(edit, EL_REFRESH);
  }

  EditLine* edit = nullptr;
  HistoryW* history = nullptr;
  HistEventW event = {};
  const wchar_t* prompt = L"> ";
  int interrupts, changes = terminal_changes();
  std::string bytes = {};  // that were read, and how many of them are used
  size_t used = 0;
  bool was_interrupted = false;
};

LineEditor::LineEditor(int interrupts) : terminal_(std::make_unique<Terminal>(interrupts)) {}
LineEditor::~LineEditor() = default;

LineStatus LineEditor::read(std::string& message) {
  Terminal& terminal = *terminal_;
  terminal.was_interrupted = false;
  terminal.prompt = L"> ";
  std::wstring text;
  for (bool goes_on = true; goes_on; terminal.prompt = L"... ") {
    // libedit would prepare the terminal after it has drawn the prompt: keys typed in between were
    // echoed and erased by the terminal, byte by byte.
    ::el_wset(terminal.edit, EL_PREP_TERM, 1);
    std::fputs(kPasteOn, stdout);
    int count = 0;
    ::el_resize(terminal.edit);
    const wchar_t* line = ::el_wgets(terminal.edit, &count);
    std::fputs(kPasteOff, stdout);
    std::fflush(stdout);
    if (terminal.was_interrupted) {
      terminal.used = terminal.bytes.size();
      return LineStatus::kInterrupted;
    }
    if (line == nullptr && text.empty()) return LineStatus::kEnd;
    if (line != nullptr) text.append(line, static_cast<size_t>(count));
    goes_on = line != nullptr && text.ends_with(L"\\\n");
    if (goes_on) text.erase(text.size() - 2, 1);
  }
  while (text.ends_with(L'\n')) text.pop_back();
  if (!text.empty()) ::history_w(terminal.history, &terminal.event, H_ENTER, text.c_str());
  message = utf8(text);
  return LineStatus::kLine;
}

}  // namespace hypenet
