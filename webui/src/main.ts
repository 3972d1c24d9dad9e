import { mount } from 'svelte';
import App from './App.svelte';
import './styles/base.css';
import { session } from './api/session.svelte';
import { ready } from './i18n/index.svelte';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');
void ready().then(
  () => {
    mount(App, { target });
    void session.start();
  },
  () => {
    // There is no text yet, in whatever language.
    target.innerHTML = '<main class="page"><h1>DPay</h1><p role="alert"><span lang="en">The texts of this page did not come: see whether the node runs, and load the page anew.</span> <span lang="ko">이 페이지의 글을 받지 못했습니다. 노드가 실행 중인지 확인하고 페이지를 새로 고치세요.</span></p></main>';
  },
);
