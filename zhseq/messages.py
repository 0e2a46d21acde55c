"""What zhseq says in Chinese: the sentence for each code of a message, with the gaps of the English one."""

from __future__ import annotations

# The English sentences stand where they are raised; `tests/test_messages.py` holds the two together.
_POETRY: dict[str, str] = {}

_TAGGING: dict[str, str] = {
    "few_readings": "读法数须不少于 1，现为 {nbest}",
    "few_threads": "线程数须不少于 1，现为 {threads}",
    "no_explanation": "没有“{tag}”的说明；可说明的有 {known}",
    "no_tagger": "{source} 所述并非标注模型：{error}；请重新下载该模型",
    "not_a_text": "应为 str 类型的文本，现为 {kind}",
    "not_texts": "应为若干文本（均为 str），现为 {kind}；只有一段文本时，请直接调用标注器",
    "nothing": "无",
    "tables_of_another_model": (
        "{directory} 中的字、二元组和词的数目是 {found}，而 {source} 所记为 {sizes}；它们不属于同一模型"
    ),
    "unknown_task": "此模型能做 {tasks}，而要求的是 {asked}；请换用别的模型",
}

_CORPORA_AND_TRAINING: dict[str, str] = {
    # device
    "device_unavailable": "设备“{name}”不可用；本机有：{there}",
    # training
    "state_not_saved": "{path} 未能保存（{reason}）；先前的状态完好",
    "state_does_not_fit": "{path} 与此模型及其设置不符：{detail}",
    "not_a_run": "{folder} 不是训练目录：其中没有 {file}；请给出训练时的 <output>",
    "log_unreadable": "{path} 不能作为文本读取（{reason}）；请给出训练时的 <output>",
    "log_empty": "{path} 是空的：训练尚未评估过；请等第一次评估",
    "log_line_not_json": "{path} 第 {line} 行：应为 JSON 格式的评估记录，但格式有误（{reason}）",
    "log_line_incomplete": "{path} 第 {line} 行：应为带名称的数值组成的评估记录，但缺少“{name}”",
    "matplotlib_missing_for_curves": "绘制曲线需要 matplotlib，尚未安装；请运行 `pip install 'zhseq[plot]'`",
    "setting_below_minimum": "{name} 至少为 {minimum}，现为 {value}",
    "setting_negative": "{name} 不可为负，现为 {value}",
    "seed_too_large": "training.seed 须小于 2 ** 63，现为 {value}",
    "rate_not_positive": "training.learning_rate 与 training.clip_norm 须大于 0",
    "decay_out_of_range": "training.ema_decay、beta2 与 final_rate 须在 [0, 1) 之内",
    "unknown_precision": "training.precision 须为 auto、float32 或 bfloat16，现为“{value}”",
    "nothing_to_train_on": "没有可供训练的内容：第一轮没有批次；请提供更多训练文本",
    "score_not_finite": "第 {step} 步之后的开发集得分为 {score}，不是有限数；{remedy}",
    "loss_not_finite": "第 {epoch} 轮第 {batch} 批（第 {step} 步）的损失不是有限数；{remedy}",
    "training_remedy": "先前的最佳模型与续训状态完好；可以续训，或调低 training.learning_rate",
    "training_line": "第 {step:,} 步，共 {total:,} 步（{share:.0%}）：损失 {loss:.4f}，开发集得分 {score}，剩余 {left}",
    "no_score_yet": "尚无",
    "run_finished": "此训练已经完成：共 {step:,} 步，无事可做；重新训练请用 <overwrite>",
}

_BULK: dict[str, str] = {
    "output_is_input": "结果应写入单独的文件，现会覆盖正在读取的文件（{name}）；请用 <output> 另指文件。",
}

_SERVICE: dict[str, str] = {}

CHINESE: dict[str, str] = {**_POETRY, **_TAGGING, **_CORPORA_AND_TRAINING, **_BULK, **_SERVICE}
