// What the page says when the service refuses something: for each code of an error the sentence in Chinese and in
// English. `{0}` is what `detail` finds in the message of the service, or the seconds to wait; without it the message
// itself is shown.

export const REFUSALS = {
  offline: { text: ["连不上服务，请看它是否还在运行。", "The service cannot be reached; see whether it still runs."] },
  busy: { text: ["服务正忙，请过 {0} 秒再试。", "The service is busy; try again in {0} seconds."] },
  timeout: { text: ["这一次花的时间太长了，请稍后再试，或少求一些。", "It took too long; try again later, or ask for less."] },
  unauthorized: { text: ["密钥不对或尚未填写，请在上方填写。", "The key is missing or wrong; enter it above."] },
  too_large: { text: ["内容太长，请分几次。", "This is too much at once; send less."] },
  too_long: { text: ["有一项写得太长，请缩短。", "One of the fields is too long; shorten it."] },
  not_chinese: {
    text: ["诗由汉字写成，而其中有「{0}」，请删去。", "A poem is made of Chinese characters, but there is {0}; leave it out."],
    detail: /holds '?(.+?)'?(?: \(U\+|; |$)/u,
  },
  misplaced_mark: {
    text: ["起句的标点与体裁不合，请删去标点。", "The marks in the beginning do not fit the form; leave them out."],
  },
  start_too_long: { text: ["起句比全诗还长，请少写几字。", "The beginning is longer than the whole poem; give fewer characters."] },
  line_twice: { text: ["起句中有两句相同，请改其一。", "The beginning holds the same line twice; change one of the two."] },
  acrostic_too_long: { text: ["所藏的字比句数还多，请少写几字。", "The acrostic has more characters than there are lines; give fewer."] },
  acrostic_clash: {
    text: ["藏字与起句在同一处要用不同的字，请改其一。", "Acrostic and beginning want different characters in one place; change one of the two."],
  },
  unknown_tune: { text: ["没有这个词牌，相近的有：{0}。", "There is no such tune; near are {0}."], detail: /near are (.+)$/u },
  unknown_author: { text: ["不知这位作者，相近的有：{0}。", "This author is not known; near are {0}."], detail: /among them (.+)$/u },
  unused_rhyme_group: {
    text: ["用韵既是「不拘」，就用不着韵字，请去其一。", "Without rhyme there is no use for a rhyme word; leave one of the two out."],
  },
  unknown_rhyme_group: { text: ["没有这个韵部，可用的韵字如：{0}。", "There is no such rhyme; rhyme with one of {0}."], detail: /one of (.+)$/u },
  ambiguous_rhyme_group: {
    text: ["此字分属几个韵部，请改用其一：{0}。", "This character is in several rhymes; choose one of {0}."],
    detail: /one of them: (.+)$/u,
  },
  oblique_rhyme_group: {
    text: ["近体诗押平声韵，而此字是仄声，请换一字。", "A regulated poem rhymes on level tones, but this word is oblique; choose another."],
  },
  small_rhyme_group: { text: ["此韵部字太少，不够押韵，请换一字。", "This rhyme has too few words for the form; choose another."] },
  against_the_pattern: {
    text: ["所给的字不合此体的格律，请改字，或把用韵设为「不拘」。", "No pattern of this form allows the given characters; change them, or choose no rhyme."],
  },
  no_verse: { text: ["其中没有汉字，请写下诗稿。", "There is no Chinese character in it; write your poem."] },
  unknown_shape: {
    text: ["看不出体裁：诗有四句或八句，每句五字或七字；若是词，请填词牌。", "This has no known form: a poem has 4 or 8 lines of 5 or 7 characters; for a ci, name its tune."],
  },
  lines_of_other_form: { text: ["各句字数与此体裁不合。", "The lines have other lengths than those of this form."] },
  no_large_rhyme_group: { text: ["没有一个韵部字数足够，请把用韵设为「不拘」。", "No rhyme has enough words for this form; choose no rhyme."] },
  other_form: { text: ["句数与此体裁不合。", "It has another number of lines than this form."] },
  open_places: { text: ["请先补上其他句中的缺字。", "Fill the open places of the other lines first."] },
  no_rules: { text: ["此模型不带声律、韵部和词谱。", "This model comes without tones, rhymes and tunes."] },
  invalid_word: {
    text: ["此词不能用：词、词性、专名里不能有控制符，也不能太长。", "This word cannot be used: words and tags hold no control characters and are not very long."],
  },
};
