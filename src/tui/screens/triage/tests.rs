use super::*;
use crate::tui::fixture;

fn fresh() -> View {
    let mut views = fixture::views();
    views.swap_remove(0)
}

fn granted(triage: &mut Triage, want: Want, at: &View) -> Want {
    let Want::Ask(Ask::Wish { token, .. }) = want else {
        return want;
    };
    let result = Ok(());
    triage.news(&News::Wished { token, result }, at)
}

#[test]
fn an_answer_is_recorded_before_the_plan_is_made() {
    let at = fresh();
    let mut triage = Triage::new(&at);
    let want = triage.act(Action::Choose, &at);
    let Want::Ask(Ask::Wish { command, .. }) = &want else {
        panic!("the answer is wished for");
    };
    assert!(matches!(command, Command::Answer { .. }));
    let want = granted(&mut triage, want, &at);
    assert!(matches!(
        want,
        Want::Ask(Ask::Wish {
            command: Command::Plan { .. },
            ..
        })
    ));
    let want = granted(&mut triage, want, &at);
    assert!(matches!(want, Want::Onward(Place::Ready)));
}

#[test]
fn one_can_go_back_one_question_at_a_time() {
    let at = fresh();
    let mut triage = Triage::new(&at);
    let _ = triage.act(Action::Down, &at);
    let want = triage.act(Action::Choose, &at);
    let _ = granted(&mut triage, want, &at);
    assert!(matches!(triage.stage, Stage::Ticks { .. }));
    let _ = triage.act(Action::Back, &at);
    assert_eq!(
        (&triage.stage, triage.cursor.at),
        (&Stage::Question(Vec::new()), 1)
    );
    assert!(matches!(
        triage.act(Action::BackOne, &at),
        Want::Onward(Place::Since)
    ));
}

#[test]
fn what_cannot_be_told_supports_no_answer() {
    let of = |v: Verdict| [fixture::check(v)];
    assert!(is_supported(&of(Verdict::DoesNotHold)));
    assert!(!is_supported(&of(Verdict::CannotTell)));
    assert!(!is_supported(&of(Verdict::Holds)));
}

#[test]
fn evidence_stands_beside_its_answer_and_goes_into_the_journal() {
    let at = fresh();
    let mut triage = Triage::new(&at);
    let _ = triage.opened(&at);
    let news = News::Looked {
        token: triage.evidence[0].token,
        result: fixture::check(Verdict::DoesNotHold),
    };
    let _ = triage.news(&news, &at);
    let drawn = fixture::draw(100, 30, |frame, area| triage.draw(frame, area, &at));
    assert!(drawn.contains("supported"), "{drawn}");
    let Want::Ask(Ask::Wish { command, .. }) = triage.act(Action::Choose, &at) else {
        panic!("the answer is wished for");
    };
    let Command::Answer { evidence, .. } = command else {
        panic!("an answer");
    };
    assert_eq!(evidence.len(), 1);
}
